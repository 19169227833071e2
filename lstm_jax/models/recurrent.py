"""Embedding, stacked recurrent layers, head: one model for every task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from lstm_jax import cells, unroll
from lstm_jax.models.base import DTYPES, Model, Outputs, linear_head
from lstm_jax.models.dropout import checked_rates, drop
from lstm_jax.models.stack import check_sizes, embed, make_layers, own_weights
from lstm_jax.support import rng
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["recurrent"]


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
    check_sizes(vocab, input_dim, hidden, dtype)
    rates = checked_rates(dropout)
    compute = DTYPES[dtype]
    stack = make_layers(hidden, cell, rates, compute)
    last = stack[-1].output_dim
    if tied and (vocab is None or last != embedding or outputs != vocab):
        raise UserError(
            f"model.tied needs token inputs and the last layer's output as wide as the embedding: "
            f"got {last} and embedding={embedding}; set model.embedding={last}"
        )
    backend, why = unroll.choose(stack[0], backend, chunk=remat_chunk)
    weights = own_weights(init)
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
        weight = params["embedding"].T if tied else params["head"]["w"]
        return linear_head(states, weight, params["head"]["b"], compute)

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

        x = embed(params, inputs, vocab, rates["embedding"], stream("embedding"), compute)
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
