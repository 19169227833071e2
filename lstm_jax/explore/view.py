"""What the page shows of a text, in JSON's own types: numbers of `predict` and `analysis`."""

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np

from lstm_jax.analysis import gates
from lstm_jax.analysis.timescales import forget_sums, time_scales
from lstm_jax.cells.trace import in_order
from lstm_jax.corpora.printable import printable
from lstm_jax.corpora.reading import check_unicode
from lstm_jax.corpora.vocabulary import SPLITTERS, UNK
from lstm_jax.predict import Run
from lstm_jax.predict.answering import labels, needs_text, remarks
from lstm_jax.predict.classification import Classifier
from lstm_jax.predict.loading import model_of
from lstm_jax.predict.reading import LENGTHS, Reader, ReadText
from lstm_jax.predict.text import describe_unknown
from lstm_jax.support.errors import UserError

__all__ = ["CHARACTERS", "ORDERS", "TOKENS", "View", "view_of"]

CHARACTERS = 4000
"""Characters of a text, at most."""
TOKENS = LENGTHS[-1] - 1
"""Tokens of a text, at most: those of one compiled call."""
TOP = 10
"""Next words, or labels, that are shown."""
ORDERS = ("time scale", "number")
"""What the units of a heat map may be sorted by: how long they remembered in this text, or their number."""


@dataclass(frozen=True)
class View:
    """A run as the page knows it.

    Attributes:
      facts: for the page itself: strings, numbers and lists of these.
      read: (text, layer, order) -> what is shown of it; raises UserError. Not from two threads at once.
    """

    facts: Mapping[str, Any]
    read: Callable[[str, int, str], dict[str, Any]]


def view_of(run: Run) -> View:
    """The view of a run of texts.

    Raises:
      UserError: a run of something else, or one that cannot be loaded.
    """
    needs_text(run, "explore")
    return _of_classifier(run) if run.is_classifier else _of_language_model(run)


def _check(text: str) -> None:
    if len(text) > CHARACTERS:
        raise UserError(f"the text has {len(text)} characters: no more than {CHARACTERS} are read at once")
    check_unicode(text, "the text")


def _facts(run: Run) -> dict[str, Any]:
    model = run.config["model"]
    hidden = [int(width) for width in model["hidden"]]
    cell = model["cell"]["name"]
    both = ", read both ways" if model.get("directions", 1) == 2 else ""
    layers = f"{len(hidden)} layer{'s' * (len(hidden) > 1)} of {', '.join(map(str, dict.fromkeys(hidden)))}"
    return {
        "name": run.paths.root.resolve().name,
        "told": [f"{cell}, {layers} units{both}", f"best parameters, of step {run.step:,}"],
        "most_characters": CHARACTERS,
        "most_tokens": TOKENS,
    }


def _of_classifier(run: Run) -> View:
    classifier = Classifier(run)
    answer = labels(classifier).answer
    vocabulary = classifier.encoder.vocabulary
    facts = _facts(run) | {"kind": "classification", "most_tokens": 0}
    facts["told"].insert(1, f"{len(classifier.labels)} labels")

    def read(text: str, layer: int = 0, order: str = ORDERS[0]) -> dict[str, Any]:
        _check(text)
        found = answer(text)
        ranked = found["probabilities"].items()
        return {
            "told": "; ".join(remarks(vocabulary, found)),
            "label": printable(found["label"]),
            "labels": [[printable(label), _number(p)] for label, p in islice(ranked, TOP)],
        }

    return View(facts, read)


def _of_language_model(run: Run) -> View:
    reader = Reader(model_of(run), TOP, traced=True)
    vocabulary = reader.vocabulary
    characters = vocabulary.level == "char"
    unit = "characters" if characters else "words"
    facts = _facts(run)
    facts["told"].insert(1, f"{len(vocabulary):,} {unit}")
    facts |= {
        "kind": "language_model",
        "unit": unit,
        "layers": len(run.config["model"]["hidden"]),
        "orders": ORDERS,
        # The surprisal of a blind guess: the end of the page's scale.
        "blind": math.log2(len(vocabulary)),
        "level": vocabulary.level,
        "line_end": vocabulary.tokens[vocabulary.eos],
        "unknown": UNK,
    }

    def read(text: str, layer: int = 0, order: str = ORDERS[0]) -> dict[str, Any]:
        _check(text)
        count = len(SPLITTERS[vocabulary.splitter](text))
        if count > TOKENS:
            raise UserError(f"the text has {count} {unit}: no more than {TOKENS} are read at once")
        if not 0 <= layer < facts["layers"] or order not in ORDERS:
            raise UserError(f"there is no layer {layer + 1} or no order {order!r}: reload the page")
        found = reader.read(text)
        told = describe_unknown(vocabulary, found.unknown) if found.unknown else ""
        return {
            "told": told,
            "tokens": _tokens(found),
            "expected": [
                [[vocabulary.tokens[int(n)], printable(vocabulary.tokens[int(n)]), _number(p)]
                 for n, p in zip(numbers, probabilities, strict=True)]
                for numbers, probabilities in zip(found.expected, found.probabilities, strict=True)
            ],
            "maps": _maps(found.traces[layer], order),
            "steps": [printable(vocabulary.tokens[vocabulary.eos]), *map(printable, found.tokens)],
        }  # fmt: skip

    return View(facts, read)


def _tokens(read: ReadText) -> list[dict[str, Any]]:
    rows = zip(read.tokens, read.known, read.bits, read.ranks, strict=True)
    return [
        {
            "shown": printable(token),
            "known": known,
            "bits": _number(bits),
            "probability": _number(2.0 ** -float(bits)),
            "rank": int(rank),
        }
        for token, known, bits, rank in rows
    ]


def _maps(trace: Mapping[str, np.ndarray], order: str) -> list[dict[str, Any]]:
    """A heat map for each gate: units as rows from the bottom up, steps as columns.

    Values are bytes of the scale from low to high, the palette 256 colours of three bytes, all in base64.
    """
    scale = None
    if order == ORDERS[0] and "f" in trace:
        steps = jnp.ones((len(trace["f"]), 1), bool)
        sums = forget_sums(jnp.asarray(trace["f"])[:, None], steps)
        scale = time_scales({name: np.asarray(total) for name, total in sums.items()}).product
    ranked = None if scale is None else np.argsort(scale, kind="stable")
    maps = []
    for name, values in in_order(trace).items():
        values = np.asarray(values, np.float32)
        units = gates.drawn_units(values.shape[1], ranked)
        sorted_scale = scale[units] if scale is not None and len(scale) == values.shape[1] else None
        shown = values[:, units].T
        palette, low, high = gates.colours_and_range(name, shown)
        cells = np.round(255 * np.clip((shown - low) / (high - low), 0, 1)).astype(np.uint8)
        maps.append(
            {
                "name": name,
                "title": gates.TITLES.get(name, name),
                "low": _number(low),
                "high": _number(high),
                "units": (units + 1).tolist(),
                "of": values.shape[1],
                "scale": None if sorted_scale is None else [_number(steps) for steps in sorted_scale],
                "cells": _base64(cells),
                "mean": [_number(value) for value in values.mean(1)],
                "palette": _base64(matplotlib.colormaps[palette](np.arange(256), bytes=True)[:, :3]),
            }
        )
    return maps


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, np.uint8).tobytes()).decode("ascii")


def _number(value: Any) -> float | None:
    """Five significant figures; None where it is not finite, which JSON cannot say."""
    return float(f"{float(value):.5g}") if np.isfinite(value) else None
