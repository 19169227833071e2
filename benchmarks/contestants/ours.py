"""This project: the update of `training.loop.run`, many windows in one compiled call."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from shapes import MATMUL_PRECISION, RATE, VOCAB, WINDOWS, Shape

from lstm_jax import models
from lstm_jax.models.loss import cross_entropy
from lstm_jax.tasks.base import Batch, Task
from lstm_jax.training import devices, optim
from lstm_jax.training.state import init_state, make_update, run_data

__all__ = ["build"]


def random_tokens(shape: Shape) -> Task:
    """Random tokens as B contiguous streams, read over and over."""
    length = WINDOWS * shape.window + 1
    tokens = np.random.default_rng(0).integers(0, VOCAB, (shape.batch, length), dtype=np.int32)

    def batch(data, split, step, bucket):
        start = (step % WINDOWS) * shape.window
        piece = jax.lax.dynamic_slice_in_dim(data, start, shape.window + 1, axis=1).T
        return Batch(piece[:-1], piece[1:])

    return Task(
        name="random_tokens",
        vocab=VOCAB,
        input_dim=None,
        outputs=VOCAB,
        data=jnp.asarray(tokens),
        batch_axes=0,
        batch=batch,
        buckets={"train": (shape.window,)},
        bucket=lambda data, split, step: jnp.zeros((), jnp.int32),
        steps={},
        epoch_ends=np.asarray([WINDOWS]),
        batch_sizes={"train": shape.batch},
        loss=lambda logits, batch: cross_entropy(logits, batch.targets),
        metrics=lambda logits, batch: {},
        chance={},
        report=dict,
        facts={},
    )


def build(shape: Shape, precision: str, backend: str = "auto") -> tuple[Callable[[int], float], str]:
    """See `contestants`."""
    jax.config.update("jax_default_matmul_precision", MATMUL_PRECISION[precision])
    task = random_tokens(shape)
    model = models.recurrent(
        vocab=VOCAB,
        outputs=VOCAB,
        hidden=shape.hidden,
        embedding=shape.embedding,
        tied=shape.tied,
        cell={"name": "lstm", "init": "uniform(0.1)"},
        dtype="bfloat16" if precision == "bfloat16" else "float32",
        backend=backend,
    )
    params = model.init(jax.random.key(0))
    optimizer = optim.build(params, name="sgd", learning_rate=RATE, clip=5.0)
    state = init_state(model, optimizer, params, shape.batch, average=False)
    update = make_update(task, model, optimizer, over_time="sum")
    mesh = devices.make_mesh(jax.devices()[:1])
    advance = devices.make_runner("jit", update, task, state, mesh)
    state = devices.place(state, devices.state_shardings(state, mesh))
    held, data = [state], run_data(task, jax.random.key(1))

    def run(steps: int) -> float:
        held[0], sums = advance(held[0], data, steps)
        jax.block_until_ready(held[0])
        return float(sums["task"] / sums["tokens"])

    return run, f"{jax.devices()[0].device_kind}, backend {model.backend}"
