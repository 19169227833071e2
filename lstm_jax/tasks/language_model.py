"""Predict the next token of a text.

Training reads the text as B contiguous streams, window after window, the carry going from one to the
next; every token is a target exactly once an epoch, and the input before the first one is the end of a
line. Evaluation with one stream is exact: one pass, one carry. With more streams, each but the first
starts from an empty carry and reads `eval_warmup` unscored tokens of context first; the figures then
depend on both, slightly, and still count every token once.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax import corpora
from lstm_jax.corpora import Corpus
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Tree
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Task
from lstm_jax.tasks.generated import check, check_real
from lstm_jax.tasks.windows import SHORTEST, Plan, cut_streams, fixed_plan, random_plan

__all__ = ["from_corpus", "language_model"]


def language_model(
    *,
    corpus: str,
    data_dir: str = "",
    level: str = "word",
    batch: int,
    window: int,
    window_jitter: float = 0.0,
    window_half: float = 0.0,
    eval_batch: int = 1,
    eval_window: int = 512,
    eval_warmup: int = 0,
    epochs: int,
    seed: int,
) -> Task:
    """The task on a corpus by name; the arguments are the config section `task`.

    Args:
      corpus, data_dir, level: see `corpora.load`.
      batch: B, parallel streams of the training text.
      window: T, tokens of a training window.
      window_jitter: standard deviation of T, tokens; see `windows.random_plan`.
      window_half: probability that the base T is halved.
      eval_batch, eval_window, eval_warmup: streams, tokens a window, unscored context of evaluation.
      epochs: passes over the training text.
      seed: of the random windows.

    Raises:
      UserError: an impossible argument, or anything wrong with the corpus.
    """
    return from_corpus(
        corpora.load(corpus, data_dir, level),
        batch=batch,
        window=window,
        window_jitter=window_jitter,
        window_half=window_half,
        eval_batch=eval_batch,
        eval_window=eval_window,
        eval_warmup=eval_warmup,
        epochs=epochs,
        seed=seed,
    )


def from_corpus(
    corpus: Corpus,
    *,
    batch: int,
    window: int,
    window_jitter: float = 0.0,
    window_half: float = 0.0,
    eval_batch: int = 1,
    eval_window: int = 512,
    eval_warmup: int = 0,
    epochs: int,
    seed: int,
) -> Task:
    """The task on a corpus that is already loaded; arguments and errors as for `language_model`."""
    check("batch", batch, 1)
    check("window", window, 1)
    check_real("window_jitter", window_jitter, 0)
    check("eval_batch", eval_batch, 1)
    check("eval_window", eval_window, 1)
    check("eval_warmup", eval_warmup, 0)
    if epochs < 1:
        raise UserError(f"epochs={epochs} is not possible: it must be 1 or more")
    if not 0 <= window_half <= 1:
        raise UserError(f"window_half={window_half} is not a probability: it must lie between 0 and 1")
    random = window_jitter > 0 or window_half > 0
    if random and window < SHORTEST:
        raise UserError(
            f"window={window} is too short for random windows, of which none is shorter than {SHORTEST}: "
            "set window_jitter and window_half to 0, or use a longer window"
        )
    vocabulary = corpus.vocabulary
    streams, plans = {}, {}
    for split, tokens in corpus.tokens.items():
        train = split == "train"
        rows, warmup = (batch, 0) if train else (eval_batch, eval_warmup)
        cut = cut_streams(tokens, vocabulary.eos, rows, warmup, split)
        if train and random:
            cut, plans[split] = random_plan(cut, window, window_jitter, window_half, epochs, seed)
        else:
            plans[split] = fixed_plan(cut, window if train else eval_window)
        streams[split] = cut
    ends = plans["train"].ends
    if not random:  # the plan of one epoch serves them all
        ends = ends[0] * np.arange(1, epochs + 1, dtype=np.int64)
    data = {split: _device_arrays(streams[split]._asdict(), plans[split]) for split in plans}

    def batch_at(data: Tree, split: str, step: Array | int, bucket: int = 0) -> Batch:
        return _batch(data[split], plans[split], step, bucket)

    return Task(
        name="language_model",
        vocab=len(vocabulary),
        input_dim=None,
        outputs=len(vocabulary),
        data=data,
        batch_axes={
            # Evaluation streams are few, one as a rule: every device holds them all.
            split: {
                leaf: 0 if split == "train" and leaf in streams[split]._fields else None for leaf in leaves
            }
            for split, leaves in data.items()
        },
        batch=batch_at,
        buckets={split: plan.lengths for split, plan in plans.items()},
        bucket=lambda data, split, step: _at(data[split]["bucket"], step),
        steps={split: len(plans[split].start) for split in ("valid", "test")},
        epoch_ends=ends,
        batch_sizes={"train": batch, "valid": eval_batch, "test": eval_batch},
        loss=scores.classes.loss,
        metrics=scores.classes.metrics,
        chance=_chance(corpus.tokens["test"]),
        report=_report(vocabulary.level),
        facts={**corpus.facts, **corpora.baselines(corpus), "first_epoch_steps": int(ends[0])},
        corpus=corpus,
    )


def _device_arrays(streams: Mapping[str, np.ndarray], plan: Plan) -> dict[str, Array]:
    """The streams and the plan as arrays. Random plans are filled up to a power of two: how many windows
    there are depends on the seed, and runs of other seeds are to share a compiled program.
    """
    size = len(plan.start)
    room = (1 << (size - 1).bit_length()) - size if plan.ragged else 0
    steps = {"start": plan.start, "length": plan.length, "bucket": plan.bucket}
    arrays = {**streams, **{name: np.pad(array, (0, room), "wrap") for name, array in steps.items()}}
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def _at(plan: Array, step: Array | int) -> Array:
    return plan[jnp.asarray(step, jnp.int32) % len(plan)]


def _batch(data: Tree, plan: Plan, step: Array | int, bucket: int) -> Batch:
    """The window of `step`; of `plan` only what is static is read, the arrays come with `data`."""
    steps = plan.lengths[bucket]
    start = _at(data["start"], step)
    tokens = jax.lax.dynamic_slice_in_dim(data["tokens"], start, steps + 1, axis=1).T
    weights = lengths = None
    if plan.masked[bucket]:
        offset = jnp.arange(steps, dtype=jnp.int32)[:, None]
        scored = (start + offset >= data["first"]) & (start + offset < data["last"])
        if plan.ragged:
            length = _at(data["length"], step)
            scored &= offset < length
            lengths = jnp.clip(data["last"] - start, 0, length)
        weights = scored.astype(jnp.float32)
    return Batch(tokens[:-1], tokens[1:], weights, lengths, None, start == 0)


def _chance(tokens: np.ndarray) -> dict[str, float]:
    """The best constant predictor of a split in closed form: its entropy, its most frequent token's share."""
    share = np.bincount(tokens) / len(tokens)
    present = share[share > 0]
    return {"nats": float(-(present * np.log(present)).sum()), "accuracy": float(share.max())}


def _report(level: str) -> Callable[[Mapping[str, float]], dict[str, float]]:
    bits = "bits_per_character" if level == "char" else "bits_per_token"

    def report(means: Mapping[str, float]) -> dict[str, float]:
        nats = float(means["nats"])
        with np.errstate(over="ignore"):  # a network that has diverged has infinite perplexity
            perplexity = float(np.exp(np.float64(nats)))
        return {"perplexity": perplexity, **means, bits: nats / float(np.log(2.0))}

    return report
