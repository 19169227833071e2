"""Continual embedded Reber: one string after the other, for ever, with no mark and no reset between them.

Gers, Schmidhuber & Cummins 2000: without resets the memory of the LSTM of 1997, which has no forget gate,
grows from string to string until it is of no use; with forget gates the network learns to reset itself.
The carry goes from window to window and never returns to its initial value after the first.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Tree
from lstm_jax.tasks import reber, scores
from lstm_jax.tasks.base import Batch, Criterion, Metrics, Task
from lstm_jax.tasks.embedded_reber import lengths
from lstm_jax.tasks.generated import check

__all__ = ["continual_reber"]

SPLITS = ("train", "valid", "test")


def continual_reber(
    *,
    length: int = 30,
    least: float = 0.0,
    batch: int = 32,
    window: int = 50,
    epoch_steps: int = 200,
    eval_batch: int = 32,
    eval_steps: int = 40,
    epochs: int,
    seed: int,
) -> Task:
    """B endless streams of embedded Reber strings, read in windows; the next symbol is predicted.

    The streams are drawn on the host, one for all windows of the run. Metrics:
      nats, accuracy: of the symbol that comes.
      recall: of the symbols last but one in their string, the share told right: the long lag alone.
    Chance: a fork's ways have the grammar's probabilities, strings follow each other independently, so the
    share of a symbol is its expected count in a string over a string's expected length; recall is that of
    the better constant of T and P, which are equally likely there, or none where another symbol is as
    frequent as both. Solved: 99 % recalled.

    Args:
      length, least: longest embedded string, and the shortest as a share of it; see `embedded_reber`.
      batch: B, streams.
      window: T of truncated back-propagation; strings longer than it are learned through the carry alone.
      epoch_steps: windows of a stream in an epoch.
      eval_batch, eval_steps: streams and windows of an evaluation.
      epochs, seed: of the run; more epochs go on with the same streams.

    Raises:
      UserError: an impossible argument.
    """
    sizes = dict(batch=batch, window=window, epoch_steps=epoch_steps, eval_batch=eval_batch)
    for argument, value in (sizes | dict(eval_steps=eval_steps)).items():
        check(argument, value, 1)
    check("epochs", epochs, 1)
    chain = reber.bounded(*lengths(length, least))
    batch_sizes = {"train": batch, "valid": eval_batch, "test": eval_batch}
    steps = {"train": epoch_steps, "valid": eval_steps, "test": eval_steps}
    data = {}
    for number, split in enumerate(SPLITS):
        parts = epochs if split == "train" else 1
        root = np.random.SeedSequence([seed % 2**64, number])
        text = streams(chain, batch_sizes[split], steps[split] * window, parts, root)
        data[split] = {"symbols": jnp.asarray(text)}
    chance = _chance(chain)
    solved = (Criterion("recall", 0.99, above=True),)

    def batch_at(data: Tree, split: str, step: Array | int, bucket: int = 0) -> Batch:
        step = jnp.asarray(step, jnp.int32)
        if split != "train":
            step = step % eval_steps
        symbols = jax.lax.dynamic_slice_in_dim(data[split]["symbols"], step * window, window + 1, axis=1)
        symbols = symbols.T.astype(jnp.int32)
        return Batch(symbols[:-1], symbols[1:], None, None, None, step == 0)

    return Task(
        name="continual_reber",
        vocab=len(reber.SYMBOLS),
        input_dim=None,
        outputs=len(reber.SYMBOLS),
        data=data,
        batch_axes={split: {"symbols": 0 if split == "train" else None} for split in SPLITS},
        batch=batch_at,
        buckets=dict.fromkeys(SPLITS, (window,)),
        bucket=lambda data, split, step: jnp.zeros((), jnp.int32),
        steps={"valid": eval_steps, "test": eval_steps},
        epoch_ends=epoch_steps * np.arange(1, epochs + 1, dtype=np.int64),
        batch_sizes=batch_sizes,
        loss=scores.nats,
        metrics=_metrics,
        chance=chance,
        report=scores.as_they_are,
        facts={
            "symbols": reber.SYMBOLS,
            "symbols_of_a_stream": int(data["train"]["symbols"].shape[1]),
            "best_nats": float(chain.bits * np.log(2) / _mean_length(chain)),
            **{f"chance_{metric}": value for metric, value in chance.items()},
            "solved_when": " and ".join(map(str, solved)),
        },
        solved=solved,
    )


def streams(
    chain: reber.Chain, rows: int, positions: int, parts: int, seed: np.random.SeedSequence
) -> np.ndarray:
    """Rows of strings without end, [rows, parts * positions + 1] int8.

    Part k is drawn from a seed of its own, so that more parts begin with the fewer.
    """
    found = np.empty((rows, parts * positions + 1), np.int8)
    found[:, 0] = reber.SYMBOLS.index("B")  # of every string, so that part k begins at 1 + k * positions
    rest = [np.empty(0, np.int8) for _ in range(rows)]  # of the string that the part before broke off
    for part, child in enumerate(seed.spawn(parts)):
        many = positions // chain.shortest + 2
        text, lengths = strings(chain, rows * many, np.random.Generator(np.random.Philox(child)))
        real = (np.arange(text.shape[1]) < lengths[:, None]).reshape(rows, many, -1)
        ends = lengths.reshape(rows, many).cumsum(1)
        for row in range(rows):
            line = text.reshape(real.shape)[row][real[row]]
            if part == 0:
                line, end = line[1:], ends[row] - 1
            else:
                end = ends[row] + len(rest[row])
                line = np.concatenate([rest[row], line])
            first = 1 + part * positions
            found[row, first : first + positions] = line[:positions]
            rest[row] = line[positions : end[np.searchsorted(end, positions)]]
    return found


def strings(chain: reber.Chain, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Independent strings, [count, N] int8 with anything behind their ends, and their lengths [count]."""
    found = np.zeros((count, len(chain.probability)), np.int8)
    lengths = np.zeros(count, np.int64)
    going, state = np.arange(count), np.full(count, reber.START)
    for t, probability in enumerate(chain.probability):
        symbol = np.where(
            rng.random(len(going)) < probability[state], chain.first[state], chain.second[state]
        )
        found[going, t] = symbol
        state = reber.NEXT[state, symbol]
        over = state == reber.END
        lengths[going[over]] = t + 1
        going, state = going[~over], state[~over]
    return found, lengths


def _metrics(logits: Array, batch: Batch) -> Metrics:
    right = (jnp.argmax(logits, axis=-1) == batch.targets).astype(jnp.float32)
    # Within a string an E is followed by the closing T or P, between two strings by B.
    begin, end = reber.SYMBOLS.index("B"), reber.SYMBOLS.index("E")
    closing = (batch.inputs == end) & (batch.targets != begin) & (batch.targets != end)
    return {
        "nats": scores.total(scores.nats(logits, batch), batch),
        "accuracy": scores.total(right, batch),
        "recall": (jnp.where(closing, right, 0.0).sum(), closing.sum(dtype=jnp.float32)),
    }


def _mean_length(chain: reber.Chain) -> float:
    return float((1 - chain.occupied[:-1, reber.END]).sum())


def _chance(chain: reber.Chain) -> dict[str, float]:
    """Every metric of the constant that gives each symbol its share in the stream."""
    share = np.einsum("ts,tsv->v", chain.occupied[:-1], chain.symbols) / _mean_length(chain)
    best = int(share.argmax())
    return {
        "nats": float(-(share * np.log(share)).sum()),
        "accuracy": float(share.max()),
        "recall": 0.5 if reber.SYMBOLS[best] in "TP" else 0.0,
    }
