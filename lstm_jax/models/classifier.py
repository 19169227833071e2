"""One answer a sequence: embedding, stacked cells in one or two directions, pooling over time, head."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from lstm_jax import cells, unroll
from lstm_jax.models.base import DTYPES, Model, Outputs, linear_head
from lstm_jax.models.dropout import checked_rates, drop
from lstm_jax.models.pooling import (
    POOLING,
    at_last,
    init_attention,
    lengths_from_padding,
    real,
    reverse,
)
from lstm_jax.models.stack import check_sizes, embed, make_layers, own_weights
from lstm_jax.support import rng
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.registry import check_name

__all__ = ["classifier"]


def classifier(
    *,
    outputs: int,
    vocab: int | None = None,
    input_dim: int | None = None,
    hidden: Sequence[int] = (200, 200),
    embedding: int = 200,
    tied: bool = False,
    directions: int = 1,
    pooling: str = "last",
    init: str = "uniform(0.1)",
    cell: Mapping[str, Any] = {"name": "lstm"},
    dropout: Mapping[str, Any] = {},
    dtype: str = "float32",
    backend: str = "auto",
    scan_unroll: int = 1,
    remat_chunk: int = 0,
) -> Model:
    """A model that reads a whole sequence and then answers once.

    With two directions each layer has a second cell of its own parameters that reads the sequence backwards,
    from its last real step to its first, never the padding (Graves & Schmidhuber 2005); what the two say of a
    step stands side by side and is the next layer's input, F = 2H. Pooling makes one state of the last
    layer's [T, B, F]:
      last: after the last real step; of the backward cell after the first step, where it has read all;
      mean: over the real steps;
      attention: their mean under softmax_t(v . tanh(W h_t + b)) (Yang et al. 2016), learned.
    The logits are the same at every step: a task scores the one that it wants. Nothing is carried from one
    window to the next: every window is a sequence from its beginning to its end.

    Where lengths are not given, they are those of tokens up to the last that is not 0, and all T of features.
    The cells run over the padding too, since no cell looks ahead and nothing that comes after the last real
    step is read: that costs less than to hold them there, and cuDNN can serve.

    Traces: the gates of the forward cell of each layer under their names, of the backward cell with
    `_backward` behind, at the step that was read. What `around` gives runs in the place of the forward cells.
    The attention is `pooling.attention_weights` of `hidden`.

    Args:
      outputs: O, classes.
      vocab: V of token inputs, of which 0 is padding; None where the inputs are features.
      input_dim: D of feature inputs; None where the inputs are tokens.
      hidden: H of each layer and direction, from the input up.
      embedding: E; unused with feature inputs.
      tied: must be False: classes are not words.
      directions: 1, forward, or 2, forward and backward.
      pooling: of pooling.POOLING.
      init: initial values of embedding, attention and head weights, `uniform(a)`; biases are 0.
      cell: `name` in CELLS and that cell's keyword arguments.
      dropout: rates by name, see DROPOUT; `output` acts on the pooled state.
      dtype: compute dtype, float32 or bfloat16; parameters, cell state and logits stay float32.
      backend: of lstm_jax.unroll.BACKENDS, or "auto".
      scan_unroll: steps unrolled in one iteration of the scan.
      remat_chunk: steps between kept carries, the others being recomputed; 0 keeps all.

    Raises:
      UserError: what the above excludes, an unknown name, or a backend that cannot serve.
    """
    check_sizes(vocab, input_dim, hidden, dtype)
    check_name(pooling, POOLING, "model.pooling")
    if directions not in (1, 2):
        raise UserError(f"model.directions={directions!r}: 1 (forward) or 2 (forward and backward)")
    if tied:
        raise UserError("model.tied: the classes of a classifier are not its words; set it to False")
    rates, compute = checked_rates(dropout), DTYPES[dtype]
    stack = make_layers(hidden, cell, rates, compute)
    backend, why = unroll.choose(stack[0], backend, chunk=remat_chunk)
    weights = own_weights(init)
    options: dict[str, Any] = dict(unroll=scan_unroll, chunk=remat_chunk)

    def init_params(key: Key) -> Params:
        params: dict[str, Any] = {}
        width = input_dim or embedding
        if vocab is not None:
            params["embedding"] = weights(rng.stream(key, "embedding"), (vocab, embedding))
        ways: dict[str, list[Params]] = {"layer": [], "backward": []}
        for index, layer in enumerate(stack):
            for name in ("layer", "backward")[:directions]:
                ways[name].append(layer.init(rng.stream(key, name, index), width))
            width = layer.output_dim * directions
        params["layers"] = tuple(ways["layer"])
        if directions == 2:
            params["backward"] = tuple(ways["backward"])
        if pooling == "attention":
            params["attention"] = init_attention(rng.stream(key, "attention"), width, weights)
        params["head"] = {"w": weights(rng.stream(key, "head"), (width, outputs)), "b": jnp.zeros(outputs)}
        return params

    def head(params: Params, states: Array) -> Array:
        return linear_head(states, params["head"]["w"], params["head"]["b"], compute)

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

        if resets is not None:
            raise UserError("a classifier takes one sequence a row, and no resets")
        steps, rows = inputs.shape[:2]
        if lengths is None:
            tokens = jnp.issubdtype(inputs.dtype, jnp.integer)
            lengths = lengths_from_padding(inputs) if tokens else jnp.full(rows, steps, jnp.int32)
        x = embed(params, inputs, vocab, rates["embedding"], stream("embedding"), compute)
        traces = []
        for index, layer in enumerate(stack):
            rate = rates["between"] if index else rates["input"]
            x = drop(x, rate, stream("dropout", index), locked=rates["locked"])
            run = unroll.unroll(
                layer if around is None else around(index, layer),
                params["layers"][index],
                x,
                key=stream("cell", index),
                backend=backend if around is None else "scan",
                **options,
            )
            read, trace = run.ys, dict(run.trace)
            if directions == 2:
                run = unroll.unroll(
                    layer,
                    params["backward"][index],
                    reverse(x, lengths),
                    key=stream("backward", index),
                    backend=backend,
                    **options,
                )
                read = jnp.concatenate([read, reverse(run.ys, lengths)], -1)
                trace |= {f"{name}_backward": reverse(gate, lengths) for name, gate in run.trace.items()}
            x = read
            traces.append(trace)
        x = jnp.where(real(steps, lengths)[..., None], x, 0)
        if pooling == "last" and directions == 2:
            forward, backward = jnp.split(x, 2, axis=-1)
            pooled = jnp.concatenate([at_last(forward, lengths), backward[0]], -1)
        else:
            pooled = POOLING[pooling](params.get("attention"), x, lengths)
        dropped = drop(pooled[None], rates["output"], stream("dropout", len(stack)))
        logits = head(params, dropped)
        return Outputs(
            jnp.broadcast_to(logits, (steps, *logits.shape[1:])),
            (),
            x,
            jnp.broadcast_to(dropped, (steps, *dropped.shape[1:])),
            tuple(traces),
        )

    return Model(init_params, lambda params, batch: (), apply, head, backend, why)
