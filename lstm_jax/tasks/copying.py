"""Copying: symbols, a wait, and then all of them again, in order.

`copying` waits as long every time, and is scored at every step; in `variable_copying` the wait varies; in
`selective_copying` the symbols stand scattered among blanks that are to be passed over.
"""

import math

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Criterion, Metrics, Scores
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["copying", "selective_copying", "variable_copying"]

BLANK = 0


def copying(*, length: int = 30, symbols: int = 8, items: int = 10) -> Generator:
    """Copying over a fixed wait (Hochreiter & Schmidhuber 1997; Arjovsky, Shah & Bengio 2016, 5.1).

    Tokens: `items` symbols drawn from `symbols`, length - 1 blanks, the delimiter, `items` blanks. Targets:
    blanks, and on the last `items` steps the symbols: each is held for length + items steps. All steps are
    scored. T = length + 2 items; blank 0, symbols 1 and up, the delimiter last; O = symbols + 1.

    Chance: who knows the step knows every blank, and nothing of the symbols:
    items ln(symbols) / (length + 2 items) nats a step (10 ln 8 / (T + 20) of the papers). `accuracy` is that
    on the symbols alone, 1/symbols. Solved: nats below a tenth of chance, and 99 % right.

    Args:
      length: steps from the last symbol to the delimiter.
      symbols: kinds of symbols.
      items: symbols to copy.

    Raises:
      UserError: an impossible length or number.
    """
    _check(length, symbols, items)
    total = length + 2 * items

    def draw(key: Key) -> Example:
        shown = 1 + jax.random.randint(key, (items,), 0, symbols)
        wait = jnp.zeros(length - 1, jnp.int32)
        inputs = jnp.concatenate([shown, wait, jnp.full(1, symbols + 1), jnp.zeros(items, jnp.int32)])
        targets = jnp.concatenate([jnp.zeros(length + items, jnp.int32), shown])
        return Example(inputs, targets)

    floor = items * math.log(symbols) / total
    return Generator(
        draw,
        steps=total,
        vocab=symbols + 2,
        outputs=symbols + 1,
        chance={"nats": floor, "accuracy": 1 / symbols},
        solved=(Criterion("nats", 0.1 * floor, above=False), Criterion("accuracy", 0.99, above=True)),
        bits=items * math.log2(symbols),
        scores=Scores(scores.nats, _count),
    )


def _count(logits: Array, batch: Batch) -> Metrics:
    """Nats of all scored steps, accuracy of those whose target is a symbol."""
    every = scores.classes.metrics(logits, batch)
    asked = (batch.targets != BLANK).astype(jnp.float32)
    symbols = batch._replace(weights=asked if batch.weights is None else asked * batch.weights)
    return every | {"accuracy": scores.classes.metrics(logits, symbols)["accuracy"]}


def variable_copying(*, length: int = 30, symbols: int = 8, items: int = 10) -> Generator:
    """Copying over a wait drawn evenly from 1 to `length` steps (after Tallec & Ollivier 2018).

    As `copying`, with another wait for each sequence, so that counting steps does not help: when to speak
    only the delimiter tells. The sequence ends with its last symbol. Scored are the steps at which a symbol
    is asked for alone, where Tallec & Ollivier score the blanks too: their losses are lower; O = symbols.

    Chance: ln(symbols) nats and 1/symbols right. Solved: 99 % right.

    Args:
      length: longest wait from the last symbol to the delimiter.
      symbols: kinds of symbols.
      items: symbols to copy.

    Raises:
      UserError: an impossible length or number.
    """
    _check(length, symbols, items)
    total = length + 2 * items

    def draw(key: Key) -> Example:
        what, when = jax.random.split(key)
        shown = jax.random.randint(what, (items,), 0, symbols)
        wait = jax.random.randint(when, (), 1, length + 1)
        step = jnp.arange(total)
        inputs = jnp.zeros(total, jnp.int32).at[:items].set(shown + 1)
        inputs = jnp.where(step == items + wait - 1, symbols + 1, inputs)
        asked = step - (items + wait)
        targets = shown[jnp.clip(asked, 0, items - 1)]
        weights = (asked >= 0) & (asked < items)
        return Example(inputs, targets, weights.astype(jnp.float32), wait + 2 * items)

    return Generator(
        draw,
        steps=total,
        vocab=symbols + 2,
        outputs=symbols,
        chance={"nats": math.log(symbols), "accuracy": 1 / symbols},
        solved=(Criterion("accuracy", 0.99, above=True),),
        bits=items * math.log2(symbols) + math.log2(length),
    )


def selective_copying(*, length: int = 30, symbols: int = 8, items: int = 10) -> Generator:
    """Copying symbols that stand among blanks (the `variable` copying of Gu et al. 2020, HiPPO).

    Tokens: `length` steps, of which `items`, drawn evenly, carry a symbol and the others a blank; then
    `items` times the cue, at which the symbols are asked for in their order. T = length + items; O = symbols.

    Chance: ln(symbols) nats and 1/symbols right. Solved: 99 % right.

    Args:
      length: steps over which the symbols are spread.
      symbols: kinds of symbols.
      items: symbols to copy.

    Raises:
      UserError: an impossible length or number, or more items than steps.
    """
    _check(length, symbols, items)
    check("items", items, 1, length)

    def draw(key: Key) -> Example:
        what, where = jax.random.split(key)
        shown = jax.random.randint(what, (items,), 0, symbols)
        places = jnp.sort(jax.random.permutation(where, length)[:items])
        data = jnp.zeros(length, jnp.int32).at[places].set(shown + 1)
        inputs = jnp.concatenate([data, jnp.full(items, symbols + 1)])
        targets = jnp.concatenate([jnp.zeros(length, jnp.int32), shown])
        return Example(inputs, targets, (jnp.arange(length + items) >= length).astype(jnp.float32))

    return Generator(
        draw,
        steps=length + items,
        vocab=symbols + 2,
        outputs=symbols,
        chance={"nats": math.log(symbols), "accuracy": 1 / symbols},
        solved=(Criterion("accuracy", 0.99, above=True),),
        bits=items * math.log2(symbols) + math.log2(math.comb(length, items)),
    )


def _check(length: int, symbols: int, items: int) -> None:
    check("length", length, 1)
    check("symbols", symbols, 2)
    check("items", items, 1)
