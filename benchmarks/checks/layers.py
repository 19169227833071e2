"""Microseconds a time step of one layer, forward and backward, by backend and by cell."""

import gc
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from shapes import SHAPES

from checks import Row, Settings
from checks.parity import backends_of
from checks.timing import seconds_per_call
from lstm_jax.cells import CELLS, make_cell
from lstm_jax.unroll import unroll

__all__ = ["cells", "layers", "over_time"]

REPEATS = 20
"""Passes inside one compiled call, so that the call itself costs nothing."""


def pass_of(cell: Any, backend: str, steps: int, batch: int, inputs: int, repeats: int) -> Any:
    """Returns a function that makes `repeats` passes, forward and backward, the weights moving a little."""
    params = cell.init(jax.random.key(0), inputs)
    xs = jax.random.normal(jax.random.key(1), (steps, batch, inputs), jnp.float32)
    weights = jax.random.normal(jax.random.key(2), (steps, batch, cell.output_dim)) / steps

    def loss(params: Any, xs: Any) -> Any:
        return (unroll(cell, params, xs, backend=backend).ys.astype(jnp.float32) * weights).sum()

    def body(index: Any, state: Any) -> Any:
        params, xs = state
        grads = jax.grad(loss, (0, 1), allow_int=True)(params, xs)

        def move(leaf: Any, grad: Any) -> Any:
            return leaf if grad.dtype == jax.dtypes.float0 else leaf - 1e-6 * grad.astype(leaf.dtype)

        return jax.tree.map(move, (params, xs), grads)

    many = jax.jit(lambda state: jax.lax.fori_loop(0, repeats, body, state))
    return lambda: jax.block_until_ready(many((params, xs)))


def timed(cell: Any, backend: str, steps: int, batch: int, inputs: int, settings: Settings) -> Row:
    """{"us_per_step", "first_call_s"}, or {"error"}."""
    repeats = 2 if settings.miniature else REPEATS
    try:
        seconds, first = seconds_per_call(pass_of(cell, backend, steps, batch, inputs, repeats), rounds=3)
    except Exception as error:  # one backend that fails must not hide the others
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    finally:
        gc.collect()
    return {"us_per_step": seconds / repeats / steps * 1e6, "first_call_s": first}


def in_torch(hidden: int, steps: int, batch: int, precision: str) -> Row:
    """The same pass by torch.nn.LSTM, in a CUDA graph on a GPU."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    lstm = torch.nn.LSTM(hidden, hidden).to(device, dtype)
    xs = torch.randn(steps, batch, hidden, device=device, dtype=dtype, requires_grad=True)
    weights = torch.randn(steps, batch, hidden, device=device, dtype=dtype) / steps
    leaves = [xs, *lstm.parameters()]

    def once() -> None:
        grads = torch.autograd.grad((lstm(xs)[0] * weights).sum(), leaves)
        with torch.no_grad():
            for leaf, grad in zip(leaves, grads, strict=True):
                leaf.sub_(grad, alpha=1e-6)

    if device.type == "cpu":
        seconds, _ = seconds_per_call(once, rounds=3)
        return {"us_per_step": seconds / steps * 1e6}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            once()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()

    def replays() -> None:
        for _ in range(REPEATS):
            graph.replay()
        torch.cuda.synchronize()

    seconds, _ = seconds_per_call(replays, rounds=5)
    return {"us_per_step": seconds / REPEATS / steps * 1e6}


def layers(settings: Settings) -> Iterator[Row]:
    """Yields a row for each shape, precision and backend, torch among them. D = H."""
    for precision in ("tf32", "bfloat16"):
        for name, shape in SHAPES.items():
            hidden, steps, batch = shape.hidden[0], shape.window, shape.batch
            if name == "awd":
                batch = 20  # as configs/awd.py has it
            if settings.miniature:
                hidden, steps, batch = 8, 3, 2
            cell = make_cell("lstm", hidden, dtype="bfloat16" if precision == "bfloat16" else "float32")
            row: Row = {
                "shape": name,
                "precision": precision,
                "hidden": hidden,
                "steps": steps,
                "batch": batch,
            }
            for backend in backends_of(cell):
                with jax.default_matmul_precision("tensorfloat32"):
                    found = timed(cell, backend, steps, batch, hidden, settings)
                yield row | {"backend": backend} | found
            try:
                yield row | {"backend": "torch"} | in_torch(hidden, steps, batch, precision)
            except ModuleNotFoundError as error:
                yield row | {"backend": "torch", "error": str(error)}


def cells(settings: Settings) -> Iterator[Row]:
    """Yields a row for each cell of CELLS: its time relative to the LSTM's, both by the backend `scan`."""
    hidden, steps, batch = (8, 3, 2) if settings.miniature else (256, 64, 32)
    lstm: float | None = None
    names = list(CELLS)[:3] if settings.miniature else list(CELLS)
    for name in names:
        row: Row = {"cell": name, "hidden": hidden, "steps": steps, "batch": batch}
        found = timed(make_cell(name, hidden), "scan", steps, batch, hidden, settings)
        lstm = found.get("us_per_step") if name == "lstm" else lstm
        if lstm and "us_per_step" in found:
            found["times_the_lstm"] = found["us_per_step"] / lstm
        yield row | found


def over_time(settings: Settings) -> Iterator[Row]:
    """Yields a row for each T, cell and backend that serves it, for cells whose steps can run in parallel."""
    lengths = (8, 16) if settings.miniature else (128, 1024, 8192)
    hidden, batch = (8, 2) if settings.miniature else (128, 8)
    for name in ("min_lstm", "para_lstm", "para_gru", "indrnn", "lstm"):
        if name not in CELLS:
            continue
        cell = make_cell(name, hidden)
        for backend in backends_of(cell):
            if name == "lstm" and backend not in ("scan", "cudnn", "newton"):
                continue
            for steps in lengths:
                repeats = settings._replace(miniature=True)  # 2 passes are long enough
                found = timed(cell, backend, steps, batch, hidden, repeats)
                yield {
                    "cell": name,
                    "backend": backend,
                    "steps": steps,
                    "hidden": hidden,
                    "batch": batch,
                } | found
