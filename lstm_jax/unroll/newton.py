"""All steps in parallel for any cell: Newton's method over the carries of all steps.

The carries s_1 .. s_T solve s_t = F_t(s_{t-1}), F being `recur` and `update`. Each iteration linearises F_t
at the present guess and solves d_t = J_t d_{t-1} + (F_t(s_{t-1}) - s_t) by an associative scan; s + d is the
next guess (DEER, Lim et al. 2024; ParaRNN, Danieli et al. 2026, for cells with diagonal recurrent weights).
The fixed point does not depend on J, and k iterations make the first k carries right whatever J is. So J may
be an approximation (quasi-DEER, Gonzalez et al. 2024) or scaled down, which serves where their ELK bounds the
size of a step: at the price of more iterations.

Where the iterations do not converge, the carries that have are retained and the rest is computed step by
step.
The gradient is the implicit one: one linear recurrence, backwards in time, at the solution. The weights'
gradients are one product over all steps. Nothing differentiates through iterations.

"auto" never chooses it: on a CPU it was behind the scan wherever it was measured (docs/parallel_in_time.md).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.unroll.base import Unrolled, where
from lstm_jax.unroll.closures import explicit
from lstm_jax.unroll.scan import freezing, in_chunks
from lstm_jax.unroll.step_jacobian import (
    FORMS,
    MOST_DENSE,
    Packing,
    form_of,
    packing,
    recurrence,
    with_diagonal_product,
)

__all__ = ["Effort", "Settings", "iterates", "run", "supports", "unroll_with_effort"]

_STATES = "newton_states"
_BLOCK = 64
"""Steps that the sequential rest is computed in at a time."""


class Settings(NamedTuple):
    """How the equations are solved.

    Attributes:
      form: a name of FORMS; None: what `form_of` finds.
      iterations: at most this many; what has not converged then is computed step by step.
      tolerance: |F_t(s_{t-1}) - s_t| relative to max(1, |s_t|) at which a step counts as solved; one more
        iteration is made after that. None: 8 roundings of the dtype, 1e-6 in float32.
      damping: whether J is scaled down, by a factor of two each time, while the largest residual grows, and
        up again when it shrinks.
    """

    form: str | None = None
    iterations: int = 32
    tolerance: float | None = None
    damping: bool = True


class Effort(NamedTuple):
    """What the solution took.

    Attributes:
      iterations: [T] int32, the iterations of the chunk that each step is in.
      sequential: [T] bool, whether the step was computed after the one before it, for want of convergence.
    """

    iterations: Array
    sequential: Array


def supports(cell: Cell, **wanted: Any) -> str | None:
    """None for a cell whose Jacobian has a form, else the reason why not; see `Backend.supports`."""
    try:
        form = form_of(cell)
    except UserError as error:  # a wrapper that the cell cannot have
        return f"it cannot run at all: {error}"
    if form is None:
        return (
            f"it needs a carry of at most {MOST_DENSE} floats a sequence, or units that meet in one linear "
            f"recurrent product only, and {cell.name!r} has neither"
        )
    return None


def run(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry,
    *,
    key: Key | None = None,
    lengths: Array | None = None,
    resets: Array | None = None,
    unroll: int = 1,
    chunk: int = 0,
) -> Unrolled:
    """Runs the cell over xs [T, B, D], all steps of a chunk in parallel; see `lstm_jax.unroll.unroll`.

    With `chunk`, chunks are solved one after the other: less memory, and fewer iterations for each.
    """
    options: dict[str, Any] = dict(key=key, lengths=lengths, resets=resets, chunk=chunk)
    return unroll_with_effort(cell, params, xs, carry, **options)[0]


def unroll_with_effort(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry | None = None,
    *,
    key: Key | None = None,
    lengths: Array | None = None,
    resets: Array | None = None,
    chunk: int = 0,
    settings: Settings | None = None,
) -> tuple[Unrolled, Effort]:
    """What `lstm_jax.unroll.unroll` returns with this backend, and the iterations that it took.

    Args:
      cell: a cell that `supports` accepts; the other arguments are as in `lstm_jax.unroll.unroll`.
      params: of `cell.init`.
      xs: [T, B, D].
      carry: the carry to begin from; None: the cell's initial carry.
      key: for random draws.
      lengths: [B].
      resets: [T, B].
      chunk: steps in a chunk.
      settings: how the equations are solved; None: the defaults.

    Raises:
      UserError: a form that the cell's Jacobian cannot take.
    """
    steps, batch = xs.shape[:2]
    settings = settings or Settings()
    form = _checked_form(cell, settings)
    start = cell.carry(params, batch)
    carry = start if carry is None else carry
    params, zs = cell.prepare(params, xs, key)
    if lengths is not None:
        ended = jnp.arange(steps)[:, None] >= lengths
        cell, zs = freezing(cell), (zs, ended)
        resets = None if resets is None else resets & ~ended

    def window(carry: Carry, inputs: Tree) -> tuple[Carry, tuple[Array, Trace, Effort]]:
        return _window(cell, params, start, carry, inputs, form, settings)

    if 0 < chunk < steps:
        policy = jax.checkpoint_policies.save_only_these_names(_STATES)
        carry, (ys, trace, effort) = in_chunks(window, carry, (zs, resets), steps, chunk, policy)
    else:
        carry, (ys, trace, effort) = window(carry, (zs, resets))
    return Unrolled(carry, cell.finish(params, ys), trace), effort


def iterates(
    cell: Cell,
    params: Params,
    xs: Array,
    count: int,
    *,
    carry: Carry | None = None,
    form: str | None = None,
    damping: bool = False,
) -> Carry:
    """The carries after 0, 1, .. count iterations, [count + 1, T, B, ...]: to see how they converge."""
    start = cell.carry(params, xs.shape[1])
    form = _checked_form(cell, Settings(form))
    seen, zs = cell.prepare(params, xs, None)
    problem = _problem(cell, seen, start, start if carry is None else carry, (zs, None), form)
    state = _first(problem)

    def one(state: _Iterate, _: None) -> tuple[_Iterate, Array]:
        after = _iterate(problem, state, damping)
        return after, after.states

    _, later = jax.lax.scan(one, state, None, length=count)
    return jax.vmap(jax.vmap(problem.packed.unpack))(jnp.concatenate([state.states[None], later]))


def _checked_form(cell: Cell, settings: Settings) -> str:
    found = form_of(cell)
    if found is None:
        raise UserError(f"backend 'newton' cannot run the cell {cell.name!r}: {supports(cell)}; try 'scan'")
    form = found if settings.form is None else settings.form
    # Units are a case of dense; quasi asks for a pointwise cell whose product is linear.
    serves = form == found or form == "dense" or (form == "quasi" and cell.pointwise and cell.linear)
    if form not in FORMS or not serves:
        raise UserError(
            f"the Jacobian of cell {cell.name!r} has no form {form!r}; allowed: {found}, dense, or, "
            f"for a pointwise cell with a linear product, quasi"
        )
    return form


class _Problem(NamedTuple):
    """s_t = F_t(s_{t-1}), without gradients; s_t is [n, B, U].

    Attributes:
      one: (s_{t-1}, inputs of step t) -> F_t(s_{t-1}).
      smooth: as `one`, with the derivative that the iterations use.
      first: the carry before the first step.
      guess: [T, n, B, U], each step alone from the initial carry.
      inputs: (zs, resets), leading axis T.
      packed: how a carry becomes s.
    """

    one: Any
    smooth: Any
    first: Array
    guess: Array
    inputs: Tree
    packed: Packing


class _Iterate(NamedTuple):
    """states [T, n, B, U]; the largest relative residual before the last update; damping; how many so far."""

    states: Array
    residual: Array
    damping: Array
    number: Array


def _step(cell: Cell, params: Params, start: Carry, carry: Carry, inputs: Tree) -> tuple[Carry, Array, Trace]:
    """One step, from `start` where it is reset."""
    z, reset = inputs
    if reset is not None:
        carry = where(reset, start, carry)
    return cell.update(params, carry, z, cell.recur(params, carry))


def _problem(cell: Cell, params: Params, start: Carry, carry: Carry, inputs: Tree, form: str) -> _Problem:
    packed = packing(carry, form)
    first, begin = (packed.pack(c) for c in (carry, start))
    at_one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs)

    def stepped(cell: Cell) -> Any:
        """Packed in, packed out. What the cell closes over has no gradient here either."""

        def one(params: Params, begin: Array, state: Array, inputs: Tree) -> Array:
            seen = packed.unpack(begin), packed.unpack(state)
            return packed.pack(_step(cell, params, *seen, inputs)[0])

        open_of = explicit(one, params, begin, first, at_one)
        consts, still, origin = jax.lax.stop_gradient((open_of.consts, params, begin))
        return lambda state, inputs: open_of.call(consts, still, origin, state, inputs)

    smooth = one = stepped(cell)
    if form == "quasi":
        approximate = with_diagonal_product(cell, jax.lax.stop_gradient(params), packed.unpack(first))
        smooth = stepped(approximate)
    first, begin, inputs = jax.lax.stop_gradient((first, begin, inputs))
    guess = jax.vmap(one, (None, 0))(begin, inputs)
    return _Problem(one, smooth, first, guess, inputs, packed)


def _before(first: Array, states: Array) -> Array:
    return jnp.concatenate([first[None], states[:-1]])


def _linearised(problem: _Problem, before: Array) -> tuple[Array, Array]:
    """F_t(s_{t-1}) [T, n, B, U] for all t, and its Jacobians [T, n, n, B, U]."""
    every = jax.vmap(problem.smooth)
    after, tangent = jax.linearize(lambda states: every(states, problem.inputs), before)
    count = before.shape[1]
    units = jnp.eye(count, dtype=before.dtype).reshape(count, 1, count, 1, 1)
    columns = jax.vmap(tangent)(jnp.broadcast_to(units, (count, *before.shape)))
    return after, jnp.moveaxis(columns, 0, 2)


def _relative(residual: Array, states: Array) -> Array:
    size = jnp.abs(residual) / jnp.maximum(1.0, jnp.abs(states))
    return jnp.where(jnp.isfinite(size), size, jnp.inf)


def _first(problem: _Problem) -> _Iterate:
    guess = problem.guess
    states = jnp.where(jnp.isfinite(guess), guess, 0.0)
    far = jnp.asarray(jnp.inf, guess.dtype)
    return _Iterate(states, far, jnp.zeros_like(far), jnp.zeros((), jnp.int32))


def _iterate(problem: _Problem, state: _Iterate, damped: bool) -> _Iterate:
    states = state.states
    after, jacobians = _linearised(problem, _before(problem.first, states))
    residual = jnp.max(_relative(after - states, states))
    damping = state.damping
    if damped:
        grown = 1.0 - 0.5 * (1.0 - damping)
        eased = jnp.where(damping > 0.1, 0.25 * damping, 0.0)
        damping = jnp.where(residual > state.residual, grown, eased)
        jacobians = jacobians * (1.0 - damping)
    later = states + recurrence(jacobians, after - states)
    for instead in (after, jnp.zeros_like(after)):  # where products of Jacobians overflow
        later = jnp.where(jnp.isfinite(later), later, instead)
    return _Iterate(later, residual, damping, state.number + 1)


def _solve(problem: _Problem, settings: Settings) -> tuple[Array, Effort]:
    """The carries after every step, [T, n, B, U]: by iterations, and step by step where these fail."""
    steps, dtype = problem.guess.shape[0], problem.guess.dtype
    tolerance = 8.0 * jnp.finfo(dtype).eps if settings.tolerance is None else settings.tolerance

    def unsolved(state: _Iterate) -> Array:
        return (state.residual > tolerance) & (state.number < settings.iterations)

    last = jax.lax.while_loop(unsolved, lambda at: _iterate(problem, at, settings.damping), _first(problem))
    states = last.states
    after = jax.vmap(problem.one)(_before(problem.first, states), problem.inputs)
    wrong = jnp.any(_relative(after - states, states) > tolerance, axis=(1, 2, 3))
    # A last iteration that only polishes may leave residuals of some roundings: it has been solved before.
    solved = (last.residual <= tolerance) & jnp.all(jnp.isfinite(after))
    prefix = jnp.where(solved | ~jnp.any(wrong), steps, jnp.argmax(wrong)).astype(jnp.int32)
    states = _finish(problem, states, prefix)
    effort = Effort(jnp.broadcast_to(last.number, (steps,)), jnp.arange(steps) >= prefix)
    return states, effort


def _finish(problem: _Problem, states: Array, prefix: Array) -> Array:
    """`states` with those from step `prefix` on computed one after the other, block by block.

    No block runs where all is solved: also under vmap, where a `cond` would run both of its branches.
    """
    steps = states.shape[0]
    block = min(_BLOCK, steps)

    def one_block(at: tuple[Array, Array]) -> tuple[Array, Array]:
        states, done = at
        begin = jnp.minimum(done, steps - block)
        inputs = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, begin, block), problem.inputs)
        previous = jax.lax.dynamic_index_in_dim(states, jnp.maximum(begin - 1, 0), keepdims=False)
        previous = jnp.where(begin == 0, problem.first, previous)

        def step(state: Array, inputs: Tree) -> tuple[Array, Array]:
            state = problem.one(state, inputs)
            return state, state

        _, computed = jax.lax.scan(step, previous, inputs)
        return jax.lax.dynamic_update_slice_in_dim(states, computed, begin, 0), begin + block

    return jax.lax.while_loop(lambda at: at[1] < steps, one_block, (states, prefix))[0]


def _window(
    cell: Cell, params: Params, start: Carry, carry: Carry, inputs: Tree, form: str, settings: Settings
) -> tuple[Carry, tuple[Array, Trace, Effort]]:
    """One chunk: its last carry, and (ys, trace, effort) of its steps."""
    problem = _problem(cell, params, start, carry, inputs, form)
    states, effort = _solve(problem, settings)
    states = checkpoint_name(jax.lax.stop_gradient(states), _STATES)

    def every(carries: Carry) -> tuple[Carry, Array, Trace]:
        before = jax.tree.map(lambda c, later: jnp.concatenate([c[None], later[:-1]]), carry, carries)
        return jax.vmap(_step, (None, None, None, 0, 0))(cell, params, start, before, inputs)

    pack, unpack = (jax.vmap(function) for function in problem.packed)

    def narrow(carries: Carry) -> Carry:
        return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), carries, carry)

    # F once more at the solution: its derivatives in params, zs and the first carry are those of each step
    # alone; `_linked` adds what the steps before contribute.
    alone = pack(every(narrow(unpack(states)))[0])
    before = _before(problem.first, states)
    if form == "quasi":
        linked = _linked_by_steps(problem, alone, before)
    else:
        linked = _linked(alone, jax.lax.stop_gradient(_linearised(problem, before)[1]))
    carries = narrow(unpack(linked))
    _, ys, trace = every(carries)
    return jax.tree.map(lambda leaf: leaf[-1], carries), (ys, trace, effort)


@jax.custom_vjp
def _linked(states: Array, jacobians: Array) -> Array:
    """`states`, whose cotangents take in those of all later steps: g_t + J_{t+1}^T g_{t+1} + ..."""
    return states


def _linked_forward(states: Array, jacobians: Array) -> tuple[Array, Array]:
    return states, jacobians


def _linked_backward(jacobians: Array, d_states: Array) -> tuple[Array, Array]:
    later = jnp.concatenate([jacobians[1:], jnp.zeros_like(jacobians[:1])])
    total = recurrence(jnp.flip(jnp.swapaxes(later, 1, 2), 0), jnp.flip(d_states, 0))
    return jnp.flip(total, 0), jnp.zeros_like(jacobians)


_linked.defvjp(_linked_forward, _linked_backward)


def _linked_by_steps(problem: _Problem, states: Array, before: Array) -> Array:
    """As `_linked`, by a scan back in time: the exact Jacobian of a dense product is never formed."""
    at_one = jax.tree.map(lambda leaf: leaf[0], (before, problem.inputs))
    open_of = explicit(problem.one, *at_one)

    @jax.custom_vjp
    def linked(states: Array, consts: list[Array], before: Array, inputs: Tree) -> Array:
        return states

    def forward(states: Array, *rest: Any) -> tuple[Array, Any]:
        return states, rest

    def backward(rest: Any, d_states: Array) -> tuple[Array, None, None, None]:
        consts, before, inputs = rest

        def step(later: Array, at: Any) -> tuple[Array, Array]:
            d_state, state, inputs = at
            total = d_state + later
            _, transpose = jax.vjp(lambda state: open_of.call(consts, state, inputs), state)
            return transpose(total)[0], total

        nothing = jnp.zeros_like(before[0])
        _, total = jax.lax.scan(step, nothing, (d_states, before, inputs), reverse=True)
        return total, None, None, None

    linked.defvjp(forward, backward)
    return linked(states, *jax.lax.stop_gradient((open_of.consts, before, problem.inputs)))
