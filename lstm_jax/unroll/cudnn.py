"""The plain LSTM by cuDNN, on an NVIDIA GPU (`jax.experimental.rnn`)."""

import jax
import jax.numpy as jnp
from jax.experimental import rnn
from jax.experimental.layout import Layout, with_layout_constraint

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.unroll.base import Unrolled, where

__all__ = ["CONFIRMED", "pack", "run", "supports"]

CONFIRMED = False
"""Whether a GPU has confirmed this backend as it is now.

On an H200 (jax 0.11.2, commit fe5ed05) its values inside `jax.jit` were not the loop's, while the same call
on arrays in row-major memory was right: XLA may give the operands of a custom call another layout. The remedy
is `_row_major`, which no GPU has run yet.
"""


def supports(
    cell: Cell,
    *,
    lengths: bool = False,
    resets: bool = False,
    trace: bool = False,
    chunk: int = 0,
    vmapped: bool = False,
    platform: str = "cpu",
) -> str | None:
    """None where cuDNN serves, else the reason; see `Backend.supports`. `lengths` are served."""
    if platform not in ("gpu", "cuda"):
        return f"it needs an NVIDIA GPU, and the platform is {platform}"
    if cell.name != "lstm":
        return f"it has the equations of the cell 'lstm' only, not of {cell.name!r}"
    if cell.wrappers:
        return f"it cannot apply the wrapper {cell.wrappers[0]!r}"
    if trace:
        return "it does not give out the gates of each step (the trace)"
    if resets:
        return "it cannot reset the carry inside a window (resets)"
    if chunk:
        return "it cannot recompute in chunks (chunk)"
    if vmapped:
        return "it cannot be vmapped"
    if not CONFIRMED:
        return "it gave other values than the loop on an H200 and no GPU has confirmed the remedy yet"
    dtypes = _dtypes(cell)
    if dtypes != {"float32"}:
        return f"it serves float32, and this cell's carry is {' and '.join(sorted(dtypes))}"
    return None


def _dtypes(cell: Cell) -> set[str]:
    """Names of the dtypes in the cell's carry; h is in the compute dtype."""
    carry = jax.eval_shape(lambda: cell.carry(cell.init(jax.random.key(0), 1), 1))
    return {leaf.dtype.name for leaf in jax.tree.leaves(carry)}


def pack(w_x: Array, w_h: Array, b: Array) -> Array:
    """w_x [D, G, H], w_h [H, G, H], b [G, H] -> the flat vector that cuDNN reads.

    Its order is W_ih [G H, D], W_hh [G H, H], b_ih, b_hh with gates i, f, g, o, as in torch.nn.LSTM. cuDNN
    adds two biases; ours goes into the first, and the second is 0 and gets no gradient.
    """

    def rows(w: Array) -> Array:
        return jnp.transpose(w, (1, 2, 0)).ravel()

    return jnp.concatenate([rows(w_x), rows(w_h), b.ravel(), jnp.zeros(b.size, b.dtype)])


def _row_major(x: Array) -> Array:
    """The array in row-major memory, as cuDNN reads and writes it."""
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))


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
    """Runs the LSTM over xs [T, B, D] in one cuDNN call; see `lstm_jax.unroll.unroll`. The trace is empty.

    The bias and the recurrent weight are those that the cell's own `prepare` gives, so that a frozen forget
    bias holds here too: the bias is z at zero input.
    """
    steps, batch, features = xs.shape
    prepared, bias = cell.prepare(params, jnp.zeros((1, 1, features), xs.dtype), key)
    weights = pack(params["w_x"], prepared["w_h"], bias[0, 0])
    # cuDNN wants lengths of 1 and more: an empty sequence runs one step, which is then thrown away.
    counts = jnp.full(batch, steps) if lengths is None else lengths
    ys, h, c = rnn.lstm(
        _row_major(jnp.swapaxes(xs, 0, 1).astype(jnp.float32)),
        _row_major(carry.h[None]),
        _row_major(carry.c[None]),
        weights,
        jnp.maximum(counts, 1).astype(jnp.int32),
        features,
        cell.output_dim,
        1,
        0.0,
        False,
    )
    ys = jnp.swapaxes(_row_major(ys), 0, 1)
    after = carry._replace(c=c[0], h=h[0])
    if lengths is not None:
        ys = jnp.where((jnp.arange(steps)[:, None] < lengths)[..., None], ys, 0)
        after = where(lengths > 0, after, carry)
    return Unrolled(after, ys, {})
