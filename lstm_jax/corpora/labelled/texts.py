"""What labelled texts are: three splits of texts with a label each; how one heap of them is split."""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lstm_jax.corpora.corpus import SPLITS
from lstm_jax.support.errors import UserError

__all__ = ["LabelledTexts", "Row", "checked", "split_documents", "without_repeats"]

_log = logging.getLogger(__name__)


class Row(NamedTuple):
    """One text.

    Attributes:
      text: any string, empty ones too.
      label: not empty.
      document: what it is a part of; all of a document is in one split.
      place: where it stands, for messages, e.g. "reviews.csv, row 3".
    """

    text: str
    label: str
    document: str = ""
    place: str = ""


class LabelledTexts(NamedTuple):
    """Texts with a label each, in three splits.

    Attributes:
      rows: split -> its rows; every label of valid and test occurs in train.
      splitter: of `vocabulary.SPLITTERS`, the one that suits these texts.
      facts: what a run should print and record: plain numbers and strings.
    """

    rows: Mapping[str, Sequence[Row]]
    splitter: str
    facts: Mapping[str, Any]


def checked(rows: Mapping[str, Sequence[Row]], splitter: str, facts: Mapping[str, Any]) -> LabelledTexts:
    """Labelled texts with their counts and a fingerprint of all of them among the facts.

    A text of valid or test with a label that train lacks is left out, and how many there are is told: a
    network that never saw the label could not say it, and its loss there has no bound. A label that only
    train has is told too.

    Raises:
      UserError: one label alone in train, or a split without a text, or without one whose label train has.
    """
    found: dict[str, Any] = {}
    known = {row.label for row in rows["train"]}
    if len(known) == 1:
        raise UserError(f"all training texts have the one label {known.pop()!r}: there is no other to tell")
    kept: dict[str, Sequence[Row]] = {}
    digest = hashlib.sha256()
    for split in SPLITS:
        if not rows[split]:
            raise UserError(f"the {split} split has no texts: every split needs at least one")
        part = kept[split] = [row for row in rows[split] if row.label in known]
        if unseen := [row for row in rows[split] if row.label not in known]:
            labels = _names({row.label for row in unseen})
            first = f"{unseen[0].place or split}: the label {unseen[0].label!r}"
            if not part:
                raise UserError(
                    f"{first} is none of training's, which are {_names(known)}, and so for all texts of "
                    f"{split}: say which column has the labels, correct them, or split anew"
                )
            _log.warning(
                "left out %d of the %d texts of %s, whose labels training does not have: %s",
                len(unseen), len(rows[split]), split, labels,
            )  # fmt: skip
            found[f"{split}_texts_of_unseen_labels"] = f"{len(unseen)} left out: {labels}"
        for row in part:
            digest.update(f"{split}\0{row.label}\0{row.text}\0".encode())
        found[f"{split}_texts"] = len(part)
        found[f"{split}_documents"] = len({row.document for row in part})
        found[f"{split}_empty_texts"] = sum(not row.text.strip() for row in part)
        missing = known - {row.label for row in part}
        if missing:
            found[f"{split}_labels_missing"] = _names(missing)
    train = {row.text for row in kept["train"]}
    found["test_texts_in_train"] = sum(row.text in train for row in kept["test"])
    return LabelledTexts(kept, splitter, {**facts, **found, "fingerprint": digest.hexdigest()[:12]})


def _names(labels: Iterable[str], most: int = 8) -> str:
    names = sorted(labels)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def split_documents(rows: Iterable[Row], share: float, seed: int = 0) -> dict[str, list[Row]]:
    """Whole documents to each split, label by label.

    The documents whose most frequent label is the same are taken in an order drawn from the seed and their
    names: until test has `share` of that label's texts, then until valid has, and the rest train. One that
    would take a split over twice its share is passed by, so that a large document trains; where that leaves
    none, the smallest is taken. The last document with some label always trains: a network that never saw
    the label could not say it.

    Args:
      rows: any.
      share: of the texts for test, and as much for valid.
      seed: of the order.

    Returns:
      split -> rows, in the order in which they came.
    """
    rows = list(rows)
    labels: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        labels[row.document][row.label] += 1
    kinds: dict[str, list[str]] = defaultdict(list)
    for document, counts in labels.items():
        kinds[min(counts, key=lambda label: (-counts[label], label))].append(document)
    chosen: dict[str, str] = {}
    trained = Counter(label for counts in labels.values() for label in counts)  # documents, by label

    def choose(document: str, split: str) -> None:
        chosen[document] = split
        trained.subtract(labels[document].keys())

    def spare(document: str) -> bool:
        return document not in chosen and all(trained[label] > 1 for label in labels[document])

    for documents in kinds.values():
        sizes = {document: labels[document].total() for document in documents}
        queue = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
        most = share * sum(sizes.values())
        for split in ("test", "valid"):
            taken = 0
            for document in queue:
                if taken < most and spare(document) and taken + sizes[document] <= 2 * most:
                    choose(document, split)
                    taken += sizes[document]
            rest = [document for document in queue if document not in chosen]
            left = list(filter(spare, rest))
            if not taken and left and len(rest) > 1:
                choose(min(left, key=lambda document: sizes[document]), split)
    parts: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for row in rows:
        parts[chosen.get(row.document, "train")].append(row)
    return parts


def without_repeats(rows: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Each text once, in one split: test keeps its own, valid gives up what test has, train those of both."""
    seen: set[str] = set()
    kept: dict[str, list[Row]] = {}
    for split in reversed(SPLITS):
        kept[split] = []
        for row in rows[split]:
            if row.text not in seen:
                seen.add(row.text)
                kept[split].append(row)
    return {split: kept[split] for split in SPLITS}
