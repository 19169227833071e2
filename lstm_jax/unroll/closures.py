"""Functions without closures: what a cell's function closes over becomes an argument of its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import Var

from lstm_jax.notation import Array, Tree

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
    """

    call: Callable[..., Any]
    shape: Tree
    consts: list[Array]
    reads_consts: list[bool]
    reads_first: list[bool]


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

    first = jaxpr.invars[: len(jax.tree.leaves(args[0]))]
    return Explicit(
        call, out, closed.consts, [v in used for v in jaxpr.constvars], [v in used for v in first]
    )
