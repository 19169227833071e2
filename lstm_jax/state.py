"""The state of a training run and one window's update of it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from lstm_jax import objective, optim, rng
from lstm_jax.models import Model
from lstm_jax.notation import Array, Key, Params, Tree
from lstm_jax.tasks.base import Batch, Task

__all__ = ["TrainState", "init_state", "make_update"]


@struct.dataclass
class TrainState:
    """Everything that resuming a run needs on the device. No key: keys are streams of (seed, step).

    Attributes:
      step: int32, windows done.
      params: the trained parameters.
      opt_state: optax state; the learning rate is in it as data.
      carry: one carry a layer, [B, ...]: the memory handed from window to window.
      average: averaged parameters (`optim.Average`), or None where the run does not average.
      bad_step: int32, the first step whose loss or gradient was not finite; -1: none.
    """

    step: Array
    params: Params
    opt_state: Any
    carry: tuple
    average: Any
    bad_step: Array


def init_state(model: Model, optimizer: optax.GradientTransformation, batch: int, key: Key, *, average: bool) -> TrainState:
    """The state before the first window; `batch` is the global B."""
    params = model.init(rng.stream(key, "init"))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        carry=model.carry(params, batch),
        average=optim.init_average(params) if average else None,
        bad_step=-jnp.ones((), jnp.int32),
    )


def make_update(
    task: Task,
    model: Model,
    optimizer: optax.GradientTransformation,
    key: Key,
    *,
    scale_by_length: bool = False,
    base_length: int = 0,
    axis_name: str | None = None,
    **terms: Any,
) -> Callable[[TrainState, Tree], tuple[TrainState, dict[str, Array]]]:
    """The update by one window: (state, task.data) -> (state, sums to be added up over windows).

    Args:
      task, model, optimizer: what is trained, and how.
      key: root key of the run; dropout draws from its stream "train" at the state's step.
      scale_by_length: multiply the learning rate by (window's tokens) / base_length (Merity 2017, 4.1).
      base_length: the base T for that.
      axis_name: a pmap axis to average gradients over; None under jit, where the mesh does it.
      **terms: the config section `objective`, see `objective.loss`.
    """

    def mean(tree: Tree) -> Tree:
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def loss(params: Params, carry: tuple, batch: Batch, dropout_key: Key, count: Array) -> tuple[Array, Any]:
        start = model.carry(params, batch.inputs.shape[1])
        carry = jax.tree.map(lambda new, old: jnp.where(batch.fresh, new, old), start, carry)
        outputs = model.apply(
            params, batch.inputs, carry, key=dropout_key, lengths=batch.lengths, resets=batch.resets
        )
        value, parts = objective.loss(outputs, batch, params, count=count, **terms)
        return value, (outputs.carry, parts)

    def window(state: TrainState, data: Tree, bucket: int) -> tuple[TrainState, dict[str, Array]]:
        batch = task.batch(data, "train", state.step, bucket)
        dropout_key = rng.stream(key, "train", state.step)
        if axis_name is not None:  # under pmap each device draws the masks of its own rows
            dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(axis_name))
        steps, rows = batch.inputs.shape[:2]
        own = jnp.asarray(steps * rows, jnp.float32) if batch.weights is None else batch.weights.sum()
        count = mean(own)  # equal on every device, so that the mean of gradients is the gradient of the mean
        (value, (carry, parts)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params, state.carry, batch, dropout_key, count
        )
        value, parts, gradient = mean((value, parts, gradient))
        norm = optax.tree.norm(gradient)
        scale = jnp.ones(())
        if scale_by_length:
            length = jnp.asarray(steps) if batch.lengths is None else batch.lengths.max()
            scale = length / base_length
        params, opt_state = optim.apply(optimizer, gradient, state.opt_state, state.params, scale)
        average = state.average
        if average is not None:
            average = optim.update_average(average, params)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        bad = jnp.where(finite | (state.bad_step >= 0), state.bad_step, state.step)
        sums = {name: part * count for name, part in parts.items()}
        sums |= {"count": count, "windows": jnp.ones(()), "gradient_norm": norm}
        return TrainState(state.step + 1, params, opt_state, carry, average, bad), sums

    def update(state: TrainState, data: Tree) -> tuple[TrainState, dict[str, Array]]:
        lengths = task.buckets["train"]
        if len(lengths) == 1:
            return window(state, data, 0)
        branches = [lambda state, data, b=b: window(state, data, b) for b in range(len(lengths))]
        return jax.lax.switch(task.bucket(data, "train", state.step), branches, state, data)

    return update


def hyperparameters(state: TrainState) -> Mapping[str, Array]:
    """The optimizer's hyperparameters that are data, e.g. learning_rate."""
    return state.opt_state.hyperparams
