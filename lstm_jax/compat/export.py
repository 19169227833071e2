"""A model's step and sequence as programs of `jax.export`, for any batch and length, on any platform.

`compat.program` writes them to a file and reads them without this project.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from lstm_jax.models import Model
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.support.pytrees import named_leaves
from lstm_jax.support.registry import check_name

__all__ = ["CANNOT", "PLATFORMS", "WHAT", "export_model", "first_carry", "flat"]

WHAT = ("step", "sequence")
"""step: [B] or [B, D] -> logits [B, O]. sequence: [T, B] or [T, B, D] -> [T, B, O]. Both with a carry."""

PLATFORMS = ("cpu", "cuda", "tpu")

CANNOT: dict[tuple[str, str], str] = {
    (
        "classifier",
        "step",
    ): "it answers once it has read a whole sequence, and carries nothing from step to step",
    ("dynamic_memory", "step"): "it turns to the story once it has read the question, and carries nothing",
}
"""(model of models.MODELS, one of WHAT) -> why that cannot be exported. Every cell can, both ways."""


def flat(tree: Tree) -> dict[str, Array]:
    """A carry or parameters as a flat dict by name, e.g. "0/c": what exported programs take and give.

    `jax.export` cannot store the NamedTuples of our carries.
    """
    return named_leaves(tree)


def first_carry(model: Model, params: Params) -> dict[str, np.ndarray]:
    """The initial carry of one sequence by name, each [1, ...]: the same for each of a batch."""
    return {name: np.asarray(leaf) for name, leaf in flat(model.carry(params, 1)).items()}


def export_model(
    model: Model,
    params: Params,
    inputs: tuple[str, tuple[int, ...]],
    *,
    name: str = "recurrent",
    what: Sequence[str] = WHAT,
    platforms: Sequence[str] = PLATFORMS,
) -> dict[str, export.Exported]:
    """The programs (params, inputs, carry) -> (logits, carry) by name, params and carry being `flat`.

    The batch and the time are symbolic: one program serves them all. Dropout is off.

    Args:
      model: on the scan backend, which every platform has, with scan_unroll=1: of a symbolic length no other
        number of steps is a whole part.
      params: its parameters, or their shapes.
      inputs: dtype and shape of one step of one sequence: ("int32", ()) for tokens, ("float32", (D,)).
      name: of the model, as in models.MODELS.
      what: of WHAT.
      platforms: of PLATFORMS.

    Raises:
      UserError: an unknown name or none, a model that cannot (see CANNOT), or another backend than the scan.
    """
    for given, kind, allowed in ((what, "program", WHAT), (platforms, "platform", PLATFORMS)):
        if not given:
            raise UserError(f"no {kind} is named: give one or more of {', '.join(allowed)}")
    for asked in what:
        check_name(asked, WHAT, "program")
        if (name, asked) in CANNOT:
            rest = [one for one in WHAT if (name, one) not in CANNOT]
            raise UserError(
                f"the model {name!r} has no {asked!r}: {CANNOT[name, asked]}; export {', '.join(rest)}"
            )
    for platform in platforms:
        check_name(platform, PLATFORMS, "platform")
    if model.backend != "scan":
        raise UserError(f"the backend {model.backend!r} is for one platform: set model.backend=scan")
    (batch, time), (dtype, shape) = export.symbolic_shape("b, t"), inputs
    in_tree = jax.tree.structure(params)
    carry_tree = jax.tree.structure(jax.eval_shape(lambda p: model.carry(p, 1), params))
    leaves, carry = flat(params), flat(jax.eval_shape(lambda p: model.carry(p, 1), params))
    like = (
        {leaf: jax.ShapeDtypeStruct(value.shape, value.dtype) for leaf, value in leaves.items()},
        {leaf: jax.ShapeDtypeStruct((batch, *v.shape[1:]), v.dtype) for leaf, v in carry.items()},
    )

    def sequence(params: Mapping[str, Array], inputs: Array, carry: Mapping[str, Array]) -> tuple:
        outputs = model.apply(_tree(in_tree, params, leaves), inputs, _tree(carry_tree, carry, like[1]))
        return outputs.logits, flat(outputs.carry)

    def step(params: Mapping[str, Array], inputs: Array, carry: Mapping[str, Array]) -> tuple:
        logits, carry = sequence(params, inputs[None], carry)
        return logits[0], carry

    shapes = {"step": (step, (batch, *shape)), "sequence": (sequence, (time, batch, *shape))}

    def exported(function: Callable[..., tuple], shape: tuple) -> export.Exported:
        given = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
        return export.export(jax.jit(function), platforms=platforms)(like[0], given, like[1])

    return {asked: exported(*shapes[asked]) for asked in what}


def _tree(structure: Any, by_name: Mapping[str, Any], order: Mapping[str, Any]) -> Tree:
    """The tree again, from its leaves by name; `order` has the names in the tree's order."""
    return jax.tree.unflatten(structure, [by_name[name] for name in order])
