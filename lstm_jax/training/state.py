"""The state of a training run, what it reads, and one window's update of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from lstm_jax.models import Model
from lstm_jax.models.carry import from_start
from lstm_jax.support import rng
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.tasks.base import Batch, Task
from lstm_jax.training import objective, optim

__all__ = ["RunData", "TrainState", "init_state", "make_update", "run_data"]


class TrainState(struct.PyTreeNode):
    """Everything that resuming a run needs on the device. No key: keys are streams of (seed, step).

    Attributes:
      step: int32, windows done.
      params: the trained parameters.
      opt_state: optax state; the learning rate is in it as data.
      carry: one carry a layer, [B, ...]: the memory handed from window to window.
      average: `optim.Average` of the parameters, or None where the run never averages.
      averaging: bool, whether averaging has begun.
      bad_step: int32, the first step whose loss or gradient was not finite; -1: none.
    """

    step: Array
    params: Params
    opt_state: Any
    carry: tuple
    average: optim.Average | None
    averaging: Array
    bad_step: Array

    def evaluation_params(self) -> Params:
        """The parameters to evaluate with: the averaged ones once there are any."""
        return self.params if self.average is None else optim.averaged(self.average, self.params)


class RunData(NamedTuple):
    """What the updates of a run read and never change.

    The key is data and no constant of the program, so that runs of all seeds share one compile.

    Attributes:
      task: `task.data`.
      key: [2] uint32, the key data of the run's root key.
      numbers: settings in which runs of one program differ, by dotted config field, float32 scalars; empty
        where a run is trained alone: all is then constant.
    """

    task: Tree
    key: Array
    numbers: Mapping[str, Array] = {}


def run_data(task: Task, key: Key) -> RunData:
    """What the updates of a run on `task` read; dropout draws from the stream "train" of `key`."""
    return RunData(task.data, jax.random.key_data(key))


def init_state(
    model: Model, optimizer: optax.GradientTransformation, params: Params, batch: int, *, average: bool
) -> TrainState:
    """The state before the first window; `batch` is the global B."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        carry=model.carry(params, batch),
        average=optim.start_average(params) if average else None,
        averaging=jnp.zeros((), bool),
        bad_step=-jnp.ones((), jnp.int32),
    )


def make_update(
    task: Task,
    model: Model,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    base_length: int = 0,
    axis_name: str | None = None,
    **terms: Any,
) -> Callable[[TrainState, RunData], tuple[TrainState, dict[str, Array]]]:
    """The update by one window: (state, run data) -> (state, sums to be added up over windows).

    Args:
      task: gives the windows; `task.buckets["train"]` are the static lengths to compile for.
      model: what is trained.
      optimizer: as `optim.build` made it.
      base_length: multiply the learning rate by (tokens of this window) / base_length (Merity et al. 2017,
        4.1); 0 does not.
      axis_name: a pmap axis to average gradients over; None under jit, where the mesh does it.
      **terms: the config section `objective`, see `objective.loss`.

    Returns:
      The update. Its sums are, by name, each term times the scored tokens, and `tokens`, `windows` and
      `gradient_norm` (before clipping), so that ratios of sums over any number of windows are exact means.
    """

    def mean(tree: Tree) -> Tree:
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def loss(params: Params, carry: tuple, batch: Batch, dropout_key: Key, count: Any) -> tuple[Array, Any]:
        carry = from_start(model, params, carry, batch)
        outputs = model.apply(
            params, batch.inputs, carry, key=dropout_key, lengths=batch.lengths, resets=batch.resets
        )
        value, parts = objective.loss(outputs, batch, params, task_loss=task.loss, count=count, **terms)
        return value, (outputs.carry, parts)

    def window(state: TrainState, data: RunData, bucket: int) -> tuple[TrainState, dict[str, Array]]:
        batch = task.batch(data.task, "train", state.step, bucket)
        dropout_key = rng.stream(jax.random.wrap_key_data(data.key), "train", state.step)
        if axis_name is not None:  # under pmap each device draws the masks of its own rows
            dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(axis_name))
        count = mean(objective.counts(batch))
        (value, (carry, parts)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params, state.carry, batch, dropout_key, count
        )
        value, parts, gradient = mean((value, parts, gradient))
        norm = optax.tree.norm(gradient)
        length = jnp.int32(batch.inputs.shape[0]) if batch.lengths is None else batch.lengths.max()
        scale = length / base_length if base_length else jnp.ones(())
        change, opt_state = optimizer.update(gradient, state.opt_state, state.params, scale=scale)
        params = optax.apply_updates(state.params, change)
        average = state.average
        if average is not None:
            average = optim.update_average(average, params, state.averaging)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        new = TrainState(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            carry=carry,
            average=average,
            averaging=state.averaging,
            bad_step=jnp.where(finite | (state.bad_step >= 0), state.bad_step, state.step),
        )
        # `count` is a device's share under pmap; what is reported counts the tokens of all devices.
        tokens = count.tokens if axis_name is None else count.tokens * jax.lax.psum(1, axis_name)
        sums = {name: part * tokens for name, part in parts.items()}
        return new, sums | {"tokens": tokens, "windows": jnp.ones(()), "gradient_norm": norm}

    def update(state: TrainState, data: RunData) -> tuple[TrainState, dict[str, Array]]:
        lengths = task.buckets["train"]
        if len(lengths) == 1:
            return window(state, data, 0)
        branches = [lambda state, data, b=b: window(state, data, b) for b in range(len(lengths))]
        return jax.lax.switch(task.bucket(data.task, "train", state.step), branches, state, data)

    return update
