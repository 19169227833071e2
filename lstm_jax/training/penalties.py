"""Where weight penalties act, and on which leaves: what the objective and the optimizer share."""

import operator
from collections.abc import Sequence

import jax

from lstm_jax.support.notation import Params, Tree
from lstm_jax.support.pytrees import mask, trainable

__all__ = ["PENALTIES", "penalised"]

PENALTIES = ("loss", "gradient", "decoupled")
"""Where l1 and l2 act: in the loss, on the clipped gradient, or after the update rule's scaling (AdamW)."""


def penalised(params: Params, patterns: Sequence[str]) -> Tree:
    """True at the trainable leaves whose name fully matches one of the regular expressions.

    Raises:
      UserError: a pattern matches no parameter.
    """
    return jax.tree.map(operator.and_, mask(params, patterns), trainable(params))
