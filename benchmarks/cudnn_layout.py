"""The flat order of weights with which cuDNN (`jax.experimental.rnn.lstm`) computes the LSTM on this GPU.

    python benchmarks/cudnn_layout.py

Tries every order of the four gates, matrices as they are and transposed, and biases in the first or the
second of cuDNN's two places, against this project's loop; prints the closest.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import rnn

from lstm_jax.cells import lstm
from lstm_jax.unroll import unroll

T, B, D, H = 5, 3, 6, 8


def main() -> None:
    cell = lstm(H)
    params = cell.init(jax.random.key(0), D)
    params["b"] = jax.random.normal(jax.random.key(3), params["b"].shape)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    with jax.default_matmul_precision("highest"):
        wanted = np.asarray(unroll(cell, params, xs, backend="loop").ys)
    zeros, lengths = jnp.zeros((1, B, H)), jnp.full(B, T, jnp.int32)
    call = jax.jit(lambda x, w: rnn.lstm(x, zeros, zeros, w, lengths, D, H, 1, 0.0, False)[0])
    found = []
    for order in itertools.permutations(range(4)):
        for transposed in (False, True):
            for second in (False, True):
                gates = list(order)
                axes = (1, 0, 2) if transposed else (1, 2, 0)
                parts = [np.transpose(np.asarray(params[w])[:, gates], axes).ravel() for w in ("w_x", "w_h")]
                b = np.asarray(params["b"])[gates].ravel()
                biases = [np.zeros_like(b), b] if second else [b, np.zeros_like(b)]
                weights = jnp.asarray(np.concatenate([*parts, *biases]))
                for major, x in (("batch", jnp.swapaxes(xs, 0, 1)), ("time", xs.reshape(B, T, D))):
                    ys = np.asarray(call(x, weights))
                    ys = np.swapaxes(ys, 0, 1) if major == "batch" else ys.reshape(T, B, H)
                    error = float(np.linalg.norm(ys - wanted) / np.linalg.norm(wanted))
                    found.append((error, "".join("ifgo"[g] for g in gates), transposed, second, major))
    for error, *what in sorted(found)[:4]:
        print(f"{error:.3g}: gates, transposed, bias second, x major: {what}")


if __name__ == "__main__":
    main()
