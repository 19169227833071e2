"""A cell's `update` and its transpose as C for one unit: the arithmetic of the fused kernels."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lstm_jax.support.notation import Array, Tree
from lstm_jax.unroll.backward import is_costly
from lstm_jax.unroll.pointwise import Code, Refused, Scalar, scalars
from lstm_jax.unroll.smooth import halve

__all__ = ["Programs", "programs"]


class Programs(NamedTuple):
    """The arithmetic both ways, on arrays of floats.

    Attributes:
      forward: statements (wt, state, z, r) -> (after, own).
      backward: statements (wt, state, z, own, g) -> (dw, dc, dz, dr); g is the gradient of `after`.
      own: how many numbers the forward keeps for the backward beside the carry and z.
      twins: for each number of r, the index of the number of z that has the same gradient; -1: none.
      y: the index of the leaf of the carry that y is; None: it is a number of its own.
    """

    forward: str
    backward: str
    own: int
    twins: tuple[int, ...]
    y: int | None


def programs(
    update: Callable[..., tuple[Tree, Array, Tree]], weights: list[Any], carry: Tree, z: Tree, r: Tree
) -> Programs:
    """Traces `update`: (weights, carry, z, r) -> (carry, y, trace).

    Args:
      update: the function.
      weights: what it reads of the params, as shapes for one unit; and so
      carry: all of it of inexact dtype,
      z: in the kernel, the leaves of inexact dtype come first, and
      r: the recurrent product.

    Raises:
      Refused: it does more than pointwise arithmetic.
    """
    z_kind, c_shapes = halve(z), jax.tree.leaves(carry)
    shapes = (weights, c_shapes, z_kind.smooth, z_kind.rest, r)

    def whole(ws: list[Array], c: list[Array], z_smooth: list[Array], z_rest: list[Array], r: Tree) -> Any:
        now = jax.tree.unflatten(jax.tree.structure(carry), c)
        after, y, _ = update(ws, now, z_kind.join(z_smooth, z_rest), r)
        return jax.tree.leaves(after), y

    structures: list[Any] = []

    def both(ws: list[Array], c: list[Array], z_smooth: list[Array], z_rest: list[Array], r: Tree) -> Any:
        """What `update` returns, and the leaves of its transpose at this point."""

        def after_of(ws: list[Array], c: list[Array], z_smooth: list[Array], r: Tree) -> list[Array]:
            return whole(ws, c, z_smooth, z_rest, r)[0]

        keeping = jax.checkpoint(after_of, policy=is_costly, prevent_cse=False)
        after, transpose = jax.vjp(keeping, ws, c, z_smooth, r)
        leaves, structure = jax.tree.flatten(transpose)
        structures[:] = [structure]
        return after, leaves

    smooth, count = scalars("z", z_kind.smooth)
    names = [*scalars("wt", weights)[0], *scalars("state", c_shapes)[0], *smooth]
    names += scalars("z", z_kind.rest, count)[0]
    kept_anyway = {scalar.text for scalar in _flat(names)}
    args = [*names, *scalars("r", r)[0]]

    after, y = Code("p").add(whole, shapes, args)
    if [a.shape for a in after] != [c.shape for c in c_shapes]:
        raise Refused(
            "it needs an update that works unit by unit, and this cell's closes over arrays of all units"
        )
    texts, y_text = [scalar.text for scalar in _flat(after)], _flat([y])[0].text

    code = Code("v")
    after, leaves = code.add(both, shapes, args)
    own: dict[str, int] = {}
    for scalar in _flat(leaves):
        if scalar.text not in kept_anyway and not _is_literal(scalar.text):
            own.setdefault(scalar.text, len(own))

    def again(scalar: Scalar) -> Scalar:
        if scalar.text not in own:
            return scalar
        name = f"own[{own[scalar.text]}]"
        return Scalar(f"({name} != 0.0f)" if scalar.dtype == bool else name, scalar.dtype)

    back = Code("b", may_sum=True)
    d_w, d_c, d_z, d_r = back.add(
        lambda leaves, d_after: jax.tree.unflatten(structures[0], leaves)(d_after),
        (jax.eval_shape(both, *shapes)[1], c_shapes),
        [_mapped(again, array) for array in leaves] + scalars("g", c_shapes)[0],
    )
    lines = list(back.lines)
    for target, tree in dict(dw=d_w, dc=d_c, dz=d_z, dr=d_r).items():
        lines += _assigned(target, _flat(jax.tree.leaves(tree)))
    backward, used = "\n".join(lines), dict[str, int]()
    for text, n in own.items():  # only what is read there is worth keeping
        if f"own[{n}]" in backward:
            backward = backward.replace(f"own[{n}]", f"own[{len(used)}]")
            used[text] = len(used)
    forward = "\n".join([*code.lines, *_assigned("after", _flat(after))])
    forward += "\n" + "\n".join(f"own[{n}] = (float){text};" for text, n in used.items())
    z_texts = [scalar.text for scalar in _flat(jax.tree.leaves(d_z))]
    twins = tuple(
        z_texts.index(scalar.text) if scalar.text in z_texts else -1 for scalar in _flat(jax.tree.leaves(d_r))
    )
    return Programs(forward, backward, len(used), twins, texts.index(y_text) if y_text in texts else None)


def _flat(arrays: Sequence[np.ndarray]) -> list[Scalar]:
    return [scalar for array in arrays for scalar in array.ravel()]


def _mapped(function: Callable[[Scalar], Scalar], array: np.ndarray) -> np.ndarray:
    out = np.empty(array.shape, object)
    for at in np.ndindex(array.shape):
        out[at] = function(array[at])  # type: ignore[arg-type]
    return out


def _assigned(target: str, numbers: list[Scalar]) -> list[str]:
    return [f"{target}[{n}] = {scalar.text};" for n, scalar in enumerate(numbers)]


def _is_literal(text: str) -> bool:
    bare = text.strip("(-)")
    return bare[:1].isdigit() or bare in ("true", "false", "INF_F", "NAN_F")
