"""Embedding, stacked recurrent layers, head: one model for every task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax import cells, rng, unroll
from lstm_jax.cells import initializers
from lstm_jax.errors import UserError
from lstm_jax.notation import Array, Key, Params
from lstm_jax.registry import check_name

__all__ = ["DROPOUT", "DTYPES", "Model", "Outputs", "drop", "recurrent"]

DROPOUT = {
    "embedding": 0.0,
    "input": 0.0,
    "between": 0.0,
    "output": 0.0,
    "locked": False,
    "weight": 0.0,
    "zoneout_cell": 0.0,
    "zoneout_hidden": 0.0,
}
"""The dropouts and their defaults; the meaning of each stands in configs/base.py."""
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Outputs(NamedTuple):
    """What a model gives for one window.

    Attributes:
      logits: [T, B, O] float32.
      carry: one carry a layer, after the last step.
      hidden: [T, B, H] output of the last layer.
      dropped: [T, B, H] the same after output dropout: what the head saw.
      traces: one dict a layer, name -> [T, B, H]: the gates; empty where the backend has none.
    """

    logits: Array
    carry: tuple
    hidden: Array
    dropped: Array
    traces: tuple


class Model(NamedTuple):
    """A stack of cells with an input and a head, as pure functions.

    Attributes:
      init: (key) -> params: {"embedding" [V, E] (tokens only), "layers" (one dict a layer),
        "head": {"w" [H, O] (absent when tied), "b" [O]}}, float32.
      carry: (params, batch) -> one carry a layer, each leaf [B, ...].
      apply: (params, inputs [T, B] or [T, B, D], carry, *, key, lengths, resets, around) -> Outputs.
        key None is deterministic; a key turns every dropout on. around(layer, cell) -> cell, where given, is
        run in the place of each layer's cell, by the scan: how an instrument reaches into a step. Instead of
        tokens their embeddings [T, B, E] may be given, for gradients with respect to these.
      head: (params, hidden [..., H]) -> logits [..., O] float32.
      backend: the unroll that was chosen, and `why`, for the run's log.
    """

    init: Callable[[Key], Params]
    carry: Callable[[Params, int], tuple]
    apply: Callable[..., Outputs]
    head: Callable[[Params, Array], Array]
    backend: str
    why: str


def drop(x: Array, rate: float, key: Key | None, *, locked: bool = False) -> Array:
    """Inverted dropout of `x` [T, B, ...]; `locked` keeps one mask for all T (Gal & Ghahramani 2016)."""
    if key is None or rate == 0.0:
        return x
    shape = (1, *x.shape[1:]) if locked else x.shape
    keep = jax.random.bernoulli(key, 1.0 - rate, shape)
    return jnp.where(keep, x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros((), x.dtype))


def _drop_words(x: Array, tokens: Array, vocab: int, rate: float, key: Key | None) -> Array:
    """Drops whole word types from the embedded `x` [T, B, E], one draw a type and window.

    The mask is looked up by token instead of being multiplied into the table: the same values and
    gradients (Merity 2017, section 4.3) without a pass over [V, E].
    """
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, (vocab,))
    scale = jnp.where(keep, 1.0 / (1.0 - rate), 0.0).astype(x.dtype)
    return x * scale[tokens][..., None]


def _rates(dropout: Mapping[str, Any]) -> dict[str, Any]:
    for name in dropout:
        check_name(name, DROPOUT, "dropout")
    rates = DROPOUT | dict(dropout)
    for name, rate in rates.items():
        if name != "locked" and isinstance(rate, int | float) and not 0.0 <= rate < 1.0:
            raise UserError(f"dropout.{name}={rate}: a rate lies in [0, 1); 0 turns it off")
    return rates


def _layer(
    index: int, widths: Sequence[int], cell: Mapping[str, Any], rates: Mapping, dtype: Any
) -> cells.Cell:
    made = cells.make_cell(**cell, hidden=widths[index], layer=index, layers=len(widths), dtype=dtype)
    if rates["weight"]:
        made = cells.weight_drop(made, rates["weight"])
    if rates["zoneout_cell"] or rates["zoneout_hidden"]:
        made = cells.zoneout(made, rates["zoneout_cell"], rates["zoneout_hidden"])
    return made


def recurrent(
    *,
    outputs: int,
    vocab: int | None = None,
    input_dim: int | None = None,
    hidden: Sequence[int] = (200, 200),
    embedding: int = 200,
    tied: bool = False,
    init: str = "uniform(0.1)",
    cell: Mapping[str, Any] = {"name": "lstm"},
    dropout: Mapping[str, Any] = {},
    dtype: str = "float32",
    backend: str = "auto",
    scan_unroll: int = 1,
    remat_chunk: int = 0,
) -> Model:
    """A recurrent model; the config section `model` is this call's keyword arguments.

    Args:
      outputs: O, classes or regressed values of the head.
      vocab: V of token inputs; None where the inputs are features.
      input_dim: D of feature inputs; None where the inputs are tokens.
      hidden: H of each layer, from the input up; its length is the number of layers.
      embedding: E; unused with feature inputs.
      tied: head weight is the embedding's transpose (Press & Wolf 2017).
      init: initial values of embedding and head weights, `uniform(a)`; the head bias starts at 0
        unless the cell's init is `uniform(a)` too (Zaremba 2014 draws every parameter).
      cell: `name` in CELLS and that cell's keyword arguments.
      dropout: rates by name, see DROPOUT.
      dtype: compute dtype, float32 or bfloat16; parameters, cell state and logits stay float32.
      backend: of lstm_jax.unroll.BACKENDS, or "auto".
      scan_unroll: steps unrolled in one iteration of the scan.
      remat_chunk: steps between kept carries, the others being recomputed; 0 keeps all.

    Raises:
      UserError: an unknown name, an impossible width or rate, or a backend that cannot serve.
    """
    check_name(dtype, DTYPES, "dtype")
    if (vocab is None) == (input_dim is None):
        raise UserError("a model reads either tokens (vocab=V) or features (input_dim=D): give exactly one")
    if not hidden or min(hidden) < 1:
        raise UserError(f"model.hidden={tuple(hidden)}: one positive width a layer, e.g. 200,200")
    if tied and (vocab is None or hidden[-1] != embedding or outputs != vocab):
        raise UserError(
            f"model.tied needs token inputs and the last hidden width equal to the embedding: "
            f"got hidden={tuple(hidden)}, embedding={embedding}; set model.embedding={hidden[-1]}"
        )
    rates = _rates(dropout)
    compute = DTYPES[dtype]
    stack = tuple(_layer(i, hidden, cell, rates, compute) for i in range(len(hidden)))
    backend, why = unroll.choose(stack[0], backend, chunk=remat_chunk)
    if not init.startswith("uniform"):
        raise UserError(f"model.init={init!r}: embedding and head start as uniform(a), e.g. uniform(0.1)")
    weights = initializers.initializer(init).vector
    draws_bias = str(dict(cell).get("init", "")).startswith("uniform")

    def init_params(key: Key) -> Params:
        params: dict[str, Any] = {}
        width = input_dim or embedding
        if vocab is not None:
            params["embedding"] = weights(rng.stream(key, "embedding"), (vocab, embedding))
        layers = []
        for index, layer in enumerate(stack):
            layers.append(layer.init(rng.stream(key, "layer", index), width))
            width = layer.output_dim
        params["layers"] = tuple(layers)
        bias_key = rng.stream(key, "head_bias")
        params["head"] = {"b": weights(bias_key, (outputs,)) if draws_bias else jnp.zeros(outputs)}
        if not tied:
            params["head"]["w"] = weights(rng.stream(key, "head"), (width, outputs))
        return params

    def init_carry(params: Params, batch: int) -> tuple:
        return tuple(layer.carry(p, batch) for layer, p in zip(stack, params["layers"], strict=True))

    def head(params: Params, states: Array) -> Array:
        # One matrix of T * B rows: with [T, B, V] logits XLA's CPU compiler copies their whole gradient into
        # another order ahead of the weight's gradient, a tenth of the step (experiments/LOG.md).
        rows = states.reshape(-1, states.shape[-1]).astype(compute)
        weight = params["embedding"].T if tied else params["head"]["w"]
        logits = jnp.dot(rows, weight.astype(compute), preferred_element_type=jnp.float32)
        return (logits + params["head"]["b"]).reshape(*states.shape[:-1], outputs)

    def apply(
        params: Params,
        inputs: Array,
        carry: tuple,
        *,
        key: Key | None = None,
        lengths: Array | None = None,
        resets: Array | None = None,
        around: Callable[[int, cells.Cell], cells.Cell] | None = None,
    ) -> Outputs:
        def stream(name: str, index: int | None = None) -> Key | None:
            return None if key is None else rng.stream(key, name, index)

        x = inputs
        if vocab is not None and jnp.issubdtype(inputs.dtype, jnp.integer):
            x = params["embedding"][inputs]
            x = _drop_words(x, inputs, vocab, rates["embedding"], stream("embedding"))
        x = x.astype(compute)
        carries, traces = [], []
        for index, layer in enumerate(stack):
            rate = rates["between"] if index else rates["input"]
            x = drop(x, rate, stream("dropout", index), locked=rates["locked"])
            run = unroll.unroll(
                layer if around is None else around(index, layer),
                params["layers"][index],
                x,
                carry[index],
                key=stream("cell", index),
                lengths=lengths,
                resets=resets,
                backend=backend if around is None else "scan",
                unroll=scan_unroll,
                chunk=remat_chunk,
            )
            x = run.ys
            carries.append(run.carry)
            traces.append(run.trace)
        dropped = drop(x, rates["output"], stream("dropout", len(stack)), locked=rates["locked"])
        return Outputs(head(params, dropped), tuple(carries), x, dropped, tuple(traces))

    return Model(init_params, init_carry, apply, head, backend, why)
