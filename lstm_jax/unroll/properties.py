"""What every cell must do, whoever wrote it: the properties that the tests run over CELLS, for any one cell.

    print(report(check(cells.lstm(4))))

Each property is a function of a cell that gives None where it holds, else what was seen instead, as a clause.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax import unroll
from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.support.pytrees import FIXED
from lstm_jax.unroll.base import Unrolled

__all__ = [
    "PROPERTIES",
    "Property",
    "Setting",
    "causal",
    "changed",
    "check",
    "difference",
    "frozen_has_no_gradient",
    "keeps_its_shapes",
    "lengths_equal_each_alone",
    "recur_is_linear",
    "report",
    "resets_equal_separate_runs",
    "run",
    "scan_equals_loop",
    "sequences_do_not_meet",
    "setting",
    "update_is_pointwise",
    "values_and_gradients",
    "weigh",
    "windows_equal_the_whole",
]

RELATIVE, ABSOLUTE = 2e-5, 5e-6
"""float32 keeps 6e-8 relative; gradients of order 1 are sums of ~100 terms over 5 steps, reordered."""


run = jax.jit(unroll.unroll, static_argnames=("cell", "backend"))
"""`unroll`, compiled once a cell object and shapes: several properties run the same."""


class Setting(NamedTuple):
    """What a cell is run on.

    Attributes:
      params: of `cell.init`.
      xs: [T, B, D] inputs, T at least 4 and B at least 2.
      carry: to begin from; best one that no zero hides.
    """

    params: Params
    xs: Array
    carry: Carry


class Property(NamedTuple):
    """An entry of PROPERTIES.

    Attributes:
      seen: (cell, setting) -> None where it holds, else what was seen, as a clause.
      what: the property, as a clause.
      applies: (cell) -> whether the cell claims it.
    """

    seen: Callable[[Cell, Setting], str | None]
    what: str
    applies: Callable[[Cell], bool] = lambda cell: True


def setting(cell: Cell, *, input_dim: int = 3, steps: int = 5, batch: int = 3, seed: int = 0) -> Setting:
    """Noise, and the carry that the cell comes to after some steps of other noise: one that it can have."""
    keys = jax.random.split(jax.random.key(seed), 3)
    params = cell.init(keys[0], input_dim)
    xs = jax.random.normal(keys[1], (steps, batch, input_dim))
    before = jax.random.normal(keys[2], (steps, batch, input_dim))
    return Setting(params, xs, run(cell, params, before, backend="loop").carry)


def difference(actual: Tree, desired: Tree, *, rtol: float = RELATIVE, atol: float = ABSOLUTE) -> str | None:
    """None where two trees are close, else the leaf that is furthest off, and how far."""
    kinds = [str(jax.tree.structure(tree)) for tree in (actual, desired)]
    if kinds[0] != kinds[1]:
        return f"{kinds[0]} in place of {kinds[1]}"
    worst, where = 0.0, ""
    both = zip(jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(desired), strict=True)
    for (path, a), d in both:
        name = jax.tree_util.keystr(path) or "it"
        if a.dtype == jax.dtypes.float0 or d.dtype == jax.dtypes.float0:
            if a.dtype != d.dtype:
                return f"{name} has a gradient in one of the two only"
            continue
        if a.shape != d.shape:
            return f"{name} is of shape {list(a.shape)} in place of {list(d.shape)}"
        a, d = np.asarray(a, np.float64), np.asarray(d, np.float64)
        off = np.abs(a - d) / (atol + rtol * np.abs(d))
        if off.size and not off.max() <= max(worst, 1.0):
            place = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
            worst = float(off.flat[place])
            where = f"{name} has {a.flat[place]:.6g} in place of {d.flat[place]:.6g}"
            if np.isnan(worst):
                return where
    return where or None


def weigh(out: Tree, seed: int = 5) -> Array:
    """A scalar that depends on every number of the output, each with a random weight of its own.

    The weights are NumPy's: constants of the program, where jax.random would be most of what is compiled.
    """
    rng = np.random.default_rng(seed)
    terms = [jnp.sum(leaf.astype(float) * rng.standard_normal(leaf.shape)) for leaf in jax.tree.leaves(out)]
    return sum(terms, jnp.zeros(()))


def values_and_gradients(
    cell: Cell, params: Params, xs: Array, carry: Carry, *, backend: str = "scan", **options: Any
) -> tuple[Unrolled, tuple[Params, Array, Carry]]:
    """The outputs, and the gradients of `weigh` with respect to params, xs and carry."""

    def loss(params: Params, xs: Array, carry: Carry) -> tuple[Array, Unrolled]:
        out = unroll.unroll(cell, params, xs, carry, backend=backend, **options)
        return weigh(out), out

    both = jax.value_and_grad(loss, (0, 1, 2), has_aux=True, allow_int=True)
    (_, out), gradients = jax.jit(both)(params, xs, carry)
    return out, gradients


def keeps_its_shapes(cell: Cell, given: Setting) -> str | None:
    """Parameters are float32; a step gives a carry like the one before it, and y [B, output_dim]."""
    params, xs, _ = given
    batch = xs.shape[1]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype not in (jnp.float32, jnp.float64):
            return f"params{name} is {leaf.dtype}; parameters are float32 whatever the compute dtype"
    start = jax.eval_shape(lambda: cell.carry(params, batch))

    def step(params: Params, xs: Array, carry: Carry) -> tuple:
        seen, zs = cell.prepare(params, xs, None)
        first = jax.tree.map(lambda leaf: leaf[0], zs)
        carry, y, trace = cell.update(seen, carry, first, cell.recur(seen, carry))
        return carry, cell.finish(seen, y), trace

    carry, y, trace = jax.eval_shape(step, params, xs, start)
    shown = [jax.tree.map(lambda s: f"{s.dtype}{list(s.shape)}", tree) for tree in (carry, start)]
    if str(shown[0]) != str(shown[1]):
        return f"update gives the carry {shown[0]}, and cell.carry gave {shown[1]}"
    if y.shape != (batch, cell.output_dim):
        return f"y is of shape {list(y.shape)}, and [B, output_dim] is {[batch, cell.output_dim]}"
    for name, value in trace.items():
        if value.shape[:1] != (batch,):
            return f"trace {name!r} is of shape {list(value.shape)}, without B = {batch} first"
    return None


def scan_equals_loop(cell: Cell, given: Setting, **options: Any) -> str | None:
    """The compiled scan, with its hand-written backward, equals the Python loop: values and gradients."""
    fast, slow = (values_and_gradients(cell, *given, backend=b, **options) for b in ("scan", "loop"))
    for what, a, d in zip(("its value", "its gradient"), fast, slow, strict=True):
        if found := difference(a, d):
            return f"{what} by scan is not that by loop: {found}"
    return None


def windows_equal_the_whole(cell: Cell, given: Setting) -> str | None:
    """Two windows with the carry handed over equal one."""
    params, xs, carry = given
    whole = run(cell, params, xs, carry)
    first = run(cell, params, xs[:3], carry)
    second = run(cell, params, xs[3:], first.carry)
    joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first[1:], second[1:])
    return difference((second.carry, *joined), tuple(whole))


def changed(cell: Cell, given: Setting) -> np.ndarray:
    """[T, B] where y changes when the input of sequence 1 does at step 3."""
    params, xs, carry = given
    before, after = (run(cell, params, each, carry).ys for each in (xs, xs.at[3, 1].add(1.0)))
    return np.asarray(jnp.any(before != after, -1))


def causal(cell: Cell, given: Setting, seen: np.ndarray | None = None) -> str | None:
    """A changed input changes no output before it, and every one from it on, of its sequence.

    `seen` is what `changed` gave, where it is known.
    """
    own = (changed(cell, given) if seen is None else seen)[:, 1]
    if own[:3].any():
        return f"the input of step 3 changes the output of step {int(np.argmax(own))}, before it"
    if not own[3:].all():
        return f"the input of step 3 leaves the output of step {3 + int(np.argmin(own[3:]))} as it was"
    return None


def sequences_do_not_meet(cell: Cell, given: Setting, seen: np.ndarray | None = None) -> str | None:
    """A changed input changes no other sequence of the batch; `seen` as in `causal`."""
    others = np.delete(changed(cell, given) if seen is None else seen, 1, axis=1)
    return "the input of one sequence changes the output of another" if others.any() else None


def lengths_equal_each_alone(cell: Cell, given: Setting, backend: str = "scan") -> str | None:
    """A padded sequence equals the same one alone, shorter, in a batch of its own."""
    params, xs, carry = given
    steps, batch, _ = xs.shape
    lengths = np.array([steps, 0, steps - 2])[np.arange(batch) % 3]
    out = run(cell, params, xs, carry, lengths=jnp.asarray(lengths), backend=backend)
    for n, length in enumerate(lengths.tolist()):
        own = jax.tree.map(lambda leaf, n=n: leaf[n : n + 1], carry)
        past = jax.tree.map(lambda leaf, n=n, k=length: leaf[k:, n], (out.ys, out.trace))
        if any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(past)):
            return "past a sequence's length an output or a trace is not zero"
        after = jax.tree.map(lambda leaf, n=n: leaf[n : n + 1], out.carry)
        if length == 0:
            found = difference(after, own, rtol=0.0, atol=1e-30)
        else:
            alone = run(cell, params, xs[:length, n : n + 1], own)
            found = difference((after, out.ys[:length, n : n + 1]), (alone.carry, alone.ys))
        if found:
            return f"a sequence of {length} steps is another one alone: {found}"
    return None


def resets_equal_separate_runs(cell: Cell, given: Setting) -> str | None:
    """After a reset it is as if the sequence had begun there."""
    params, xs, carry = given
    resets = jnp.zeros(xs.shape[:2], bool).at[3].set(True)
    together = run(cell, params, xs, carry, resets=resets)
    apart = run(cell, params, xs[3:])
    return difference((together.carry, together.ys[3:]), (apart.carry, apart.ys))


def recur_is_linear(cell: Cell, given: Setting) -> str | None:
    """`recur` of 2 carries less 3 others is 2 of the one less 3 of the other."""
    params, xs, carry = given
    seen, _ = cell.prepare(params, xs, None)
    other = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), carry)

    def mixed(one: Tree, two: Tree) -> Tree:
        return jax.tree.map(
            lambda a, b: 2.0 * a - 3.0 * b if jnp.issubdtype(a.dtype, jnp.floating) else a, one, two
        )

    found = difference(
        cell.recur(seen, mixed(carry, other)), mixed(cell.recur(seen, carry), cell.recur(seen, other))
    )
    return f"recur is not linear in the carry ({found}): say linear=False" if found else None


def update_is_pointwise(cell: Cell, given: Setting) -> str | None:
    """One unit of z, of r or of the carry reaches that unit of that sequence, and no other."""
    params, xs, carry = given
    seen, zs = cell.prepare(params, xs, None)
    z, r = jax.tree.map(lambda leaf: leaf[0], zs), cell.recur(seen, carry)
    before = cell.update(seen, carry, z, r)

    def bumped(leaf: Array) -> Array:
        whole = jnp.ndim(leaf) < 2 or not jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf if whole else leaf.at[1, ..., 0].add(3.0)  # far enough for a rectified unit to wake up

    for name, args in {
        "z": (carry, jax.tree.map(bumped, z), r),
        "r": (carry, z, jax.tree.map(bumped, r)),
        "the carry": (jax.tree.map(bumped, carry), z, r),
    }.items():
        after = cell.update(seen, *args)
        for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
            touched = np.array(a != b)
            touched[1, ..., 0] = False
            if touched.any():
                return f"unit 0 of {name} reaches other units in update: say pointwise=False"
    return None


def frozen_has_no_gradient(cell: Cell, given: Setting) -> str | None:
    """Leaves whose name ends in `_fixed` get no gradient, and some other leaf does."""
    _, (gradients, _, _) = values_and_gradients(cell, *given)
    moved = {name: bool(np.any(np.asarray(leaf))) for name, leaf in gradients.items()}
    wrong = [name for name, moves in moved.items() if moves and name.endswith(FIXED)]
    if wrong:
        return f"the frozen leaf {wrong[0]!r} has a gradient"
    return None if any(moved.values()) else "no parameter has a gradient: it cannot be trained"


PROPERTIES: dict[str, Property] = {
    "shapes": Property(keeps_its_shapes, "a step keeps the carry's shapes and dtypes; y is [B, output_dim]"),
    "scan": Property(scan_equals_loop, "the compiled scan equals the plain loop, in values and gradients"),
    "windows": Property(windows_equal_the_whole, "two windows with the carry handed over equal one"),
    "causal": Property(causal, "an input changes the outputs from its step on, and none before it"),
    "batch": Property(sequences_do_not_meet, "the sequences of a batch do not meet"),
    "lengths": Property(lengths_equal_each_alone, "a padded sequence equals the same one alone"),
    "resets": Property(resets_equal_separate_runs, "after a reset it is as if it had begun there"),
    "trainable": Property(frozen_has_no_gradient, "parameters have gradients, frozen ones none"),
    "linear": Property(recur_is_linear, "recur is linear in the carry", lambda cell: cell.linear),
    "pointwise": Property(update_is_pointwise, "update does not mix the units", lambda cell: cell.pointwise),
}
"""What is demanded of a cell, by name."""


def check(cell: Cell, **sizes: int) -> dict[str, str | None]:
    """Runs every property that the cell claims.

    Args:
      cell: any cell, of one's own too.
      sizes: of `setting`.

    Returns:
      Name of PROPERTIES -> None where it holds, else what was seen; an exception in the cell's functions is
      what was seen. Some seconds, as the cell is compiled several times.
    """
    found: dict[str, str | None] = {}
    try:
        given = setting(cell, **sizes)
    except Exception as error:
        return {"shapes": _raised(error)}
    for name, one in PROPERTIES.items():
        if one.applies(cell):
            try:
                found[name] = one.seen(cell, given)
            except Exception as error:
                found[name] = _raised(error)
    return found


def _raised(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"it raised {type(error).__name__}: {lines[0] if lines else ''}"


def report(found: dict[str, str | None]) -> str:
    """What `check` found, a line a property."""
    wide = max(map(len, found))
    lines = []
    for name, seen in found.items():
        lines.append(f"{'holds' if seen is None else 'FAILS'}  {name:{wide}}  {PROPERTIES[name].what}")
        lines += [f"       {'':{wide}}  but {seen}"] if seen else []
    return "\n".join(lines)
