"""Functions without closures: what a cell's function closes over becomes an argument of its own."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import Var

from lstm_jax.support.notation import Array, Tree

__all__ = ["Explicit", "explicit"]


class Explicit(NamedTuple):
    """A function of explicit arguments.

    Attributes:
      call: (consts, *args) -> what the original returned for args.
      shape: what the original returns for args, as shapes and dtypes.
      consts: the arrays that the original closed over, tracers among them (a traced dropout rate).
      reads_consts: whether each of consts is used.
      reads_first: whether each leaf of the first argument is used at all. A leaf handed to a nested
        jit counts as used.
      forwards: for each leaf of the result, the index among the leaves of all arguments of the one that it
        is, untouched; None where it is a leaf of its own.
      partners: pairs of indices among the leaves of all arguments that serve for nothing but to be added to
        each other, so that their gradients are one array.
    """

    call: Callable[..., Any]
    shape: Tree
    consts: list[Array]
    reads_consts: list[bool]
    reads_first: list[bool]
    forwards: list[int | None]
    partners: dict[int, int]


def explicit(function: Callable[..., Any], *args: Tree) -> Explicit:
    """Traces `function` once for arguments shaped like `args`.

    A custom_vjp must not close over tracers: its backward runs when the trace they belong to may be over.
    """
    closed, out = jax.make_jaxpr(function, return_shape=True)(*args)
    jaxpr, treedef = closed.jaxpr, jax.tree.structure(out)
    used = {var for eqn in jaxpr.eqns for var in eqn.invars if isinstance(var, Var)}
    used.update(var for var in jaxpr.outvars if isinstance(var, Var))

    def call(consts: list[Array], *args: Tree) -> Any:
        return jax.tree.unflatten(treedef, jax.core.eval_jaxpr(jaxpr, consts, *jax.tree.leaves(args)))

    places = {var: index for index, var in enumerate(jaxpr.invars)}
    return Explicit(
        call,
        out,
        closed.consts,
        reads_consts=[var in used for var in jaxpr.constvars],
        reads_first=[var in used for var in jaxpr.invars[: len(jax.tree.leaves(args[0]))]],
        forwards=[places.get(var) if isinstance(var, Var) else None for var in jaxpr.outvars],
        partners=_partners(jaxpr),
    )


def _partners(jaxpr: Any) -> dict[int, int]:
    uses = Counter(v for eqn in jaxpr.eqns for v in eqn.invars if isinstance(v, Var))
    uses.update(v for v in jaxpr.outvars if isinstance(v, Var))
    places = {var: index for index, var in enumerate(jaxpr.invars) if uses[var] == 1}
    pairs: dict[int, int] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "add" and all(isinstance(v, Var) and v in places for v in eqn.invars):
            a, b = eqn.invars
            if (a.aval.shape, a.aval.dtype) == (b.aval.shape, b.aval.dtype):
                pairs |= {places[a]: places[b], places[b]: places[a]}
    return pairs
