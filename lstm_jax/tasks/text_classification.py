"""One label a text: which topic, which word was left out, is the review good?

Texts are read whole, never cut into windows: each row of a batch is one text from its beginning, and the one
target that is scored stands at its last real step, so that any model can be trained on it. Texts of like
length go together: a batch has one of a few static lengths (`buckets`), the least that holds its texts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lstm_jax.corpora.encoder import Encoder, build_encoder
from lstm_jax.corpora.labelled import LabelledTexts, Where, load_labelled
from lstm_jax.corpora.vocabulary import SPLITTERS
from lstm_jax.support.notation import Array, Tree
from lstm_jax.support.registry import check_name
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Metrics, Task
from lstm_jax.tasks.generated import check, check_real

__all__ = ["F1", "best_lengths", "from_texts", "text_classification"]

F1 = "f1 "
"""What the name of a class's F1 begins with; the label follows."""


def text_classification(
    *,
    source: str = "keywords",
    data_dir: str = "",
    text_column: str = "text",
    label_column: str = "label",
    document_column: str = "",
    held_out: float = 0.1,
    split_seed: int = 0,
    splitter: str = "",
    lower: bool = False,
    min_count: int = 2,
    longest: int = 256,
    lengths: int = 4,
    batch: int = 32,
    eval_batch: int = 128,
    epochs: int,
    seed: int,
) -> Task:
    """The task on labelled texts by name; the arguments are the config section `task`.

    An epoch is one pass over the training texts in an order of its own. Figures: accuracy; the F1 of each
    class; macro F1, their plain mean over all classes of training, 0 for one that is neither in the split nor
    ever said. Chance: the class that is most frequent in the test split, and the entropy of its classes.
    Texts of valid and test whose label training does not have are left out of all figures; how many is told.

    Args:
      source: keywords (embedded: which keyword was blanked out of a line of Python) | topics (embedded: the
        chapter of Python's library that a docstring's paragraph belongs to) | files (CSV, TSV, JSON lines) |
        imdb_reviews | ag_news_subset (both through TFDS).
      data_dir: files: the directory of train, valid and test, or one file; "": LSTM_JAX_DATA.
      text_column, label_column: files: the columns.
      document_column: files: the column that says what a text is a part of; "": each is its own, and so is
        one whose row has none there.
      held_out: share for test and as much for valid, where the source is in one piece.
      split_seed: of that split: never the run's seed.
      splitter: how texts fall into tokens, whitespace | punctuation | characters; "": as the source suits.
      lower: read in lower case.
      min_count: training tokens that are rarer are unknown words.
      longest: tokens of a text that are read, the end of line among them.
      lengths: static lengths at most, which batches are padded to; each costs a compile.
      batch: B, texts of a training step.
      eval_batch: texts of a step of evaluation.
      epochs, seed: of the run; the seed decides the order of the texts, never their split.

    Raises:
      UserError: an impossible argument, or what loading the texts raises.
    """
    where = Where(data_dir, text_column, label_column, document_column, held_out, split_seed)
    if not 0 < held_out < 0.5:
        check_real("held_out", held_out, 0.001, 0.499)
    return from_texts(
        load_labelled(source, where),
        splitter=splitter,
        lower=lower,
        min_count=min_count,
        longest=longest,
        lengths=lengths,
        batch=batch,
        eval_batch=eval_batch,
        epochs=epochs,
        seed=seed,
    )


class _Texts(NamedTuple):
    """A split as numbers.

    Attributes:
      tokens: [sum of the lengths] int32, one text after the other.
      start: [N] int32, where each begins.
      length: [N] int32.
      label: [N] int32 classes.
      unknown: tokens that were read as `<unk>`.
      cut: texts that were longer than is read.
    """

    tokens: np.ndarray
    start: np.ndarray
    length: np.ndarray
    label: np.ndarray
    unknown: int
    cut: int


def from_texts(
    texts: LabelledTexts,
    *,
    splitter: str = "",
    lower: bool = False,
    min_count: int = 2,
    longest: int = 256,
    lengths: int = 4,
    batch: int = 32,
    eval_batch: int = 128,
    epochs: int,
    seed: int,
) -> Task:
    """The task on texts that are already loaded; arguments and errors as for `text_classification`."""
    for name, value, least in (
        ("min_count", min_count, 1),
        ("longest", longest, 2),
        ("lengths", lengths, 1),
        ("eval_batch", eval_batch, 1),
        ("epochs", epochs, 1),
    ):
        check(name, value, least)
    check("batch", batch, 1, len(texts.rows["train"]))
    splitter = splitter or texts.splitter
    check_name(splitter, SPLITTERS, "task.splitter")
    train = texts.rows["train"]
    encoder = build_encoder(
        (row.text for row in train),
        (row.label for row in train),
        splitter=splitter,
        lower=lower,
        min_count=min_count,
        longest=longest,
    )
    splits = {split: _encode(rows, encoder) for split, rows in texts.rows.items()}
    static = best_lengths(np.concatenate([part.length for part in splits.values()]), lengths)
    data, buckets, passes, padded = {}, {}, {}, {}
    for split, part in splits.items():
        rows, times = (batch, epochs) if split == "train" else (eval_batch, 1)
        plan, bucket, ends = _plan(part.length, static, rows, times, seed, shuffle=split == "train")
        used = np.unique(bucket)  # a length that no batch has would be compiled for nothing
        buckets[split] = tuple(static[number] for number in used)
        passes[split] = ends
        first = slice(0, int(ends[0]))
        padded[split] = 1 - part.length.sum() / (np.take(static, bucket[first]).sum() * rows)
        data[split] = {
            "tokens": jnp.asarray(part.tokens),
            "start": jnp.asarray(part.start),
            "length": jnp.asarray(part.length),
            "label": jnp.asarray(part.label),
            "plan": jnp.asarray(plan),
            "bucket": jnp.asarray(np.searchsorted(used, bucket).astype(np.int32)),
        }

    def batch_at(data: Tree, split: str, step: Array | int, bucket: int = 0) -> Batch:
        return _batch(data[split], buckets[split][bucket], step)

    chance = _chance(splits["test"].label, encoder.labels)
    return Task(
        name="text_classification",
        vocab=len(encoder.vocabulary),
        input_dim=None,
        outputs=len(encoder.labels),
        data=data,
        batch_axes={
            split: {leaf: 0 if (split, leaf) == ("train", "plan") else None for leaf in leaves}
            for split, leaves in data.items()
        },
        batch=batch_at,
        buckets=buckets,
        bucket=lambda data, split, step: _at(data[split]["bucket"], step),
        steps={split: int(passes[split][0]) for split in ("valid", "test")},
        epoch_ends=passes["train"],
        batch_sizes={"train": batch, "valid": eval_batch, "test": eval_batch},
        loss=scores.nats,
        metrics=_metrics(encoder.labels),
        chance=chance,
        report=_report,
        facts={
            **texts.facts,
            "labels": ", ".join(encoder.labels),
            "splitter": splitter,
            "vocabulary_size": len(encoder.vocabulary),
            "lengths_of_batches": ", ".join(map(str, static)),
            **{fact: value for split in splits for fact, value in _facts(split, splits[split]).items()},
            "train_padding": float(padded["train"]),
            **{f"chance_{metric}": value for metric, value in chance.items()},
        },
        encoder=encoder,
    )


def _encode(rows: Sequence, encoder: Encoder) -> _Texts:
    read = [encoder.encode(row.text) for row in rows]
    length = np.array([len(one.tokens) for one in read], np.int32)
    tokens = np.concatenate([one.tokens for one in read])
    return _Texts(
        tokens,
        (np.cumsum(length) - length).astype(np.int32),
        length,
        np.array([encoder.classes[row.label] for row in rows], np.int32),
        int(np.sum(tokens == encoder.vocabulary.unk)),
        sum(one.left_out > 0 for one in read),
    )


def _facts(split: str, part: _Texts) -> dict[str, float]:
    return {
        f"{split}_tokens": len(part.tokens),
        f"{split}_unk_rate": part.unknown / len(part.tokens),
        f"{split}_texts_cut": part.cut,
    }


def best_lengths(lengths: np.ndarray, most: int) -> tuple[int, ...]:
    """The static lengths, at most `most`, that pad sequences of `lengths` [N] least; the last is the longest.

    Exactly the least for sequences that are each padded to the next static length; by dynamic programming
    over the lengths that occur, of which beyond some hundred only the quantiles are tried.
    """
    possible = np.unique(lengths)
    if len(possible) > 128:
        ordered = np.sort(lengths)
        possible = np.unique(ordered[np.linspace(0, len(ordered) - 1, 128).astype(int)])
    counts = np.searchsorted(np.sort(lengths), possible, side="right")  # sequences of at most this length
    before = np.concatenate([[0], counts])
    # cost[j, i]: padded steps of the sequences above possible[j - 1], up to possible[i], at possible[i].
    cost = (counts[None, :] - before[:-1, None]) * possible[None, :].astype(np.int64)
    best, choices = cost[0].copy(), []
    for _ in range(min(most, len(possible)) - 1):
        through = np.full((len(possible), len(possible)), np.iinfo(np.int64).max)
        for last in range(1, len(possible)):
            through[1 : last + 1, last] = best[:last] + cost[1 : last + 1, last]
        through[0] = best  # with no further length
        choices.append(np.argmin(through, axis=0))
        best = through.min(axis=0)
    place, chosen = len(possible) - 1, [int(possible[-1])]
    for choice in reversed(choices):
        cut = int(choice[place])
        if cut:
            place = cut - 1
            chosen.append(int(possible[place]))
    return tuple(reversed(chosen))


def _plan(
    length: np.ndarray, static: Sequence[int], rows: int, passes: int, seed: int, *, shuffle: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which text each row reads at each step, [rows, S] int32, -1 none; each step's bucket; the passes' ends.

    A pass puts the texts in order of their bucket, those of one bucket in an order drawn for the pass, cuts
    that into batches and, where it shuffles, draws the batches' order. Each text is read once a pass; one
    batch at most has rows without a text. A pass is a function of the seed and its number.
    """
    own = np.searchsorted(static, length)
    count, steps = len(length), -(-len(length) // rows)
    plans, buckets = [], []
    for number in range(passes):
        draw = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed % 2**64, number])))
        order = draw.permutation(count) if shuffle else np.arange(count)
        order = order[np.argsort(own[order], kind="stable")]
        plan = np.concatenate([order, np.full(steps * rows - count, -1)]).reshape(steps, rows)
        bucket = own[plan].max(1, where=plan >= 0, initial=0)
        turn = draw.permutation(steps) if shuffle else np.arange(steps)
        plans.append(plan[turn])
        buckets.append(bucket[turn])
    ends = steps * np.arange(1, passes + 1, dtype=np.int64)
    return np.ascontiguousarray(np.concatenate(plans).T, np.int32), np.concatenate(buckets), ends


def _at(plan: Array, step: Array | int) -> Array:
    return plan[..., jnp.asarray(step, jnp.int32) % plan.shape[-1]]


def _batch(data: Tree, steps: int, step: Array | int) -> Batch:
    """The texts of `step`, padded to `steps`."""
    chosen = _at(data["plan"], step)
    there = chosen >= 0
    lengths = jnp.where(there, data["length"][chosen], 0)
    times = jnp.arange(steps, dtype=jnp.int32)[:, None]
    tokens = data["tokens"].at[data["start"][chosen] + times].get(mode="fill", fill_value=0)
    inputs = jnp.where(times < lengths, tokens, 0)
    targets = jnp.broadcast_to(data["label"][chosen], inputs.shape)
    weights = ((times == lengths - 1) & there).astype(jnp.float32)
    return Batch(inputs, targets, weights, lengths, None, True)


def _metrics(labels: Sequence[str]) -> Callable[[Array, Batch], Metrics]:
    """Nats, accuracy and F1 by class: 2 hits / (true + said), a ratio of sums and so exact over batches."""

    def metrics(logits: Array, batch: Batch) -> Metrics:
        weight = scores.scored(batch).astype(jnp.float32)[..., None]
        classes = jnp.arange(logits.shape[-1])
        true = (batch.targets[..., None] == classes) * weight
        said = (jnp.argmax(logits, axis=-1)[..., None] == classes) * weight
        twice, both = 2 * (true * said).sum((0, 1)), (true + said).sum((0, 1))
        # The tiny count makes 0 of a class that is neither there nor said; any whole number swallows it.
        tiny = jnp.finfo(jnp.float32).tiny
        by_class = {f"{F1}{label}": (twice[k], both[k] + tiny) for k, label in enumerate(labels)}
        return scores.classes.metrics(logits, batch) | by_class

    return metrics


def _report(means: Mapping[str, float]) -> dict[str, float]:
    """What is known of nats, accuracy, macro F1 and the classes' F1."""
    by_class = {name: float(mean) for name, mean in means.items() if name.startswith(F1)}
    figures = {name: float(mean) for name, mean in means.items() if name not in by_class}
    if by_class:
        figures["macro_f1"] = sum(by_class.values()) / len(by_class)
    return figures | by_class


def _chance(test: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    share = np.bincount(test, minlength=len(labels)) / len(test)
    present, most = share[share > 0], float(share.max())
    return {
        "nats": float(-(present * np.log(present)).sum()),
        "accuracy": most,
        "macro_f1": 2 * most / (1 + most) / len(labels),
    }
