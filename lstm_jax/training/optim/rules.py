"""The update rule: clip, penalise, scale, step, with the learning rate as data."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lstm_jax.cells.rates import absent
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params
from lstm_jax.support.pytrees import trainable
from lstm_jax.support.registry import check_name, lookup
from lstm_jax.training.penalties import PENALTIES, penalised

__all__ = ["RULES", "build", "get_learning_rate", "set_learning_rate"]


def _sgd(momentum: float, beta1: float, beta2: float, eps: float) -> optax.GradientTransformation:
    # buffer = momentum * buffer + g, the buffer being the step: torch's SGD without dampening.
    return optax.trace(momentum) if momentum else optax.identity()


def _adam(momentum: float, beta1: float, beta2: float, eps: float) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=beta1, b2=beta2, eps=eps)


def _rmsprop(momentum: float, beta1: float, beta2: float, eps: float) -> optax.GradientTransformation:
    # Adam with beta1 = 0 to the letter (bias correction, eps outside the root), without its first moment.
    return optax.scale_by_rms(decay=beta2, eps=eps, eps_in_sqrt=False, bias_correction=True)


RULES = {"sgd": _sgd, "adam": _adam, "rmsprop": _rmsprop}
"""optim.name -> (momentum, beta1, beta2, eps) -> the rule's scaling, without its learning rate."""

_SCHEDULE = ("schedule", "decay_after", "decay_factor", "warmup")
_AVERAGING = ("average", "average_after", "scale_by_length")
"""Fields of `optim` that are read elsewhere."""


def _clip(limit: Any) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm`, as one scalar factor.

    optax divides every element by the norm; XLA does not repeat a division, so ahead of Adam it writes the
    quotient out: a memory pass more (experiments/LOG.md, "Clip and update on two CPU cores").
    """

    def scale(updates: Params, params: Params) -> Params:
        norm = optax.tree.norm(updates)
        factor = jnp.where(norm < limit, 1.0, limit / norm)  # NaN for a norm of NaN, so that it is seen
        return jax.tree.map(lambda u: u * factor.astype(u.dtype), updates)

    return optax.stateless(scale)


def _penalise(l1: Any, l2: Any, chosen: Params) -> optax.GradientTransformation:
    """Adds l1 * sign(w) + l2 * w at the chosen leaves; a coefficient of None is left out."""

    def add(update: Array, weight: Array, use: bool) -> Array:
        if use and l1 is not None:
            update = update + (l1 * jnp.sign(weight)).astype(update.dtype)
        if use and l2 is not None:
            update = update + (l2 * weight).astype(update.dtype)
        return update

    return optax.stateless(lambda updates, params: jax.tree.map(add, updates, params, chosen))


def _step(learning_rate: Any) -> optax.GradientTransformationExtraArgs:
    """Multiplies by -learning_rate * scale, `scale` being an optional argument of `update`."""

    def update(updates, state, params=None, *, scale=1.0, **others):
        del params, others
        rate = -learning_rate * scale
        return jax.tree.map(lambda u: (rate * u).astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def _zero(chosen: Params) -> optax.GradientTransformation:
    """Zeros in place of the updates of the chosen leaves, whatever they hold."""
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda u, z: jnp.zeros_like(u) if z else u, updates, chosen)
    )


def build(
    params: Params,
    *,
    name: str = "adam",
    learning_rate: float | Array = 1e-3,
    clip: float | Array = 0.0,
    momentum: float = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    l1: float | Array = 0.0,
    l2: float | Array = 0.0,
    penalty: str = "loss",
    penalty_mask: Sequence[str] = (".*",),
    **elsewhere: Any,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer of the config section `optim`, with the penalties of `objective` that are its business.

    Order: clip to the global norm -> (+ l1 sign(w) + l2 w if penalty="gradient": torch's weight_decay after
    `clip_grad_norm_`) -> rule -> (the same if "decoupled": AdamW, Loshchilov & Hutter 2019) -> times
    -learning_rate * scale.

    `update(gradients, state, params, scale=s)` multiplies the step's whole learning rate by s, which may be
    traced (AWD-LSTM: tokens of this window / window); that takes in the l2 term under "gradient" and
    "decoupled" alike. learning_rate, and clip, l1, l2 where in use, live in `state.hyperparams`: changing
    them does not recompile. Leaves whose name ends in `_fixed` never change, and their gradients do not
    count in the norm. A NaN in any gradient makes every update NaN where a clip is set.

    Args:
      params: the parameters, or their shapes; only structure and names are read.
      name: one of RULES; rmsprop is Adam with beta1 = 0 (Melis et al. 2018).
      learning_rate: step size of the first epoch.
      clip: global norm (L2 over all trainable gradients); a literal 0 does not clip.
      momentum: of sgd.
      beta1: of adam.
      beta2: of adam and rmsprop.
      eps: of adam and rmsprop, added outside the root.
      l1: coefficient a of a * sign(w).
      l2: coefficient a of a * w.
      penalty: one of PENALTIES.
      penalty_mask: regular expressions over parameter names that l1 and l2 act on.
      **elsewhere: the fields of `optim` that are read elsewhere, so that the section can be passed whole.

    Raises:
      UserError: unknown name, penalty or field, a value out of range, a pattern that matches no parameter.
    """
    for field in elsewhere:
        check_name(field, _SCHEDULE + _AVERAGING, "optim field")
    check_name(penalty, PENALTIES, "objective.penalty")
    for field, value in (("learning_rate", learning_rate), ("clip", clip), ("l1", l1), ("l2", l2)):
        if isinstance(value, int | float) and not value >= 0:
            raise UserError(f"{field} is {value}: it must be 0 or more")
    for field, value in (("momentum", momentum), ("beta1", beta1), ("beta2", beta2)):
        if not 0 <= value < 1:
            raise UserError(f"optim.{field} is {value}: it must be at least 0 and less than 1")
    if name == "adamw":
        raise UserError("optim.name='adamw': set optim.name=adam and objective.penalty=decoupled")
    rule = lookup(RULES, name, "optim.name")(momentum, beta1, beta2, eps)
    free = trainable(params)
    chosen = penalised(params, penalty_mask)
    fixed = jax.tree.map(operator.not_, free)

    def in_use(value: Any) -> Any:
        return None if absent(value) else value

    def chain(learning_rate: Any, clip: Any, l1: Any, l2: Any) -> optax.GradientTransformation:
        none = optax.identity()
        # Twice: first so that fixed leaves do not count in the norm, last so that nothing moves them.
        freeze = _zero(fixed) if any(jax.tree.leaves(fixed)) else none
        penalise = none if l1 is None and l2 is None else _penalise(l1, l2, chosen)
        return optax.chain(
            freeze,
            none if clip is None else _clip(clip),
            penalise if penalty == "gradient" else none,
            rule,
            penalise if penalty == "decoupled" else none,
            _step(learning_rate),
            freeze,
        )

    if penalty == "loss":
        l1 = l2 = 0.0
    return optax.inject_hyperparams(chain, hyperparam_dtype=jnp.float32)(
        learning_rate=learning_rate, clip=in_use(clip), l1=in_use(l1), l2=in_use(l2)
    )


def get_learning_rate(state: Any) -> Array:
    """The learning rate that the next update will use: a scalar, or [K] for vmapped members of a sweep."""
    return state.hyperparams["learning_rate"]


def set_learning_rate(state: Any, value: float | Array) -> Any:
    """`state` with another learning rate: same type, shape and sharding, so that nothing recompiles.

    `value` is a number or [K]; inside jit it may be traced.
    """
    old = get_learning_rate(state)
    new = jnp.broadcast_to(jnp.asarray(value, old.dtype), old.shape)
    # A committed array (checkpoint, mesh) stays where it is; to commit another would add a jit cache entry.
    if not isinstance(old, jax.core.Tracer) and not isinstance(new, jax.core.Tracer) and old.committed:
        new = jax.device_put(new, old.sharding)
    return state._replace(hyperparams={**state.hyperparams, "learning_rate": new})
