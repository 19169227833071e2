"""The dynamic memory network: a question turns attention on a story's sentences (Kumar 2016)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax import unroll
from lstm_jax.cells import Cell, GRUCarry, gru
from lstm_jax.cells.base import Carry, Trace
from lstm_jax.cells.gated import wide
from lstm_jax.cells.initializers import initializer
from lstm_jax.cells.rates import absent
from lstm_jax.models.base import DTYPES, Model, Outputs, linear_head
from lstm_jax.models.dropout import checked_rates, drop, drop_words
from lstm_jax.support import rng
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.support.registry import check_name

__all__ = ["dynamic_memory"]

OWN_DROPOUT = ("embedding", "input", "output", "locked")
EPISODE_GATES = ("softmax", "sigmoid")


def _attentive(cell: Cell) -> Cell:
    """The cell that moves as its gate lets it: h' = g GRU(c, h) + (1 - g) h; xs [T, B, H + 1] are c and g."""

    def prepare(params: Params, xs: Array, key: Key | None) -> tuple[Params, Tree]:
        params, zs = cell.prepare(params, xs[..., :-1], key)
        return params, (zs, xs[..., -1:])

    def update(params: Params, carry: Carry, z: Tree, r: Array) -> tuple[Carry, Array, Trace]:
        z, gate = z
        after, _, trace = cell.update(params, carry, z, r)
        h = (gate * after.h + (1.0 - gate) * carry.h).astype(carry.h.dtype)
        return after._replace(h=h), h, trace

    return cell._replace(prepare=prepare, update=update)


def _relevance(params: Params, c: Array, m: Array, q: Array) -> Array:
    """How much each sentence c [T, B, H] matters to the question q [B, H] and the memory m [B, H]: [T, B].

    Section 3.3: w_2 tanh(W_1 z + b_1) + b_2, z being the sentence, the memory, the question, their products
    and distances, c W_b q and c W_b m.
    """
    c, m, q = (x.astype(wide(c.dtype)) for x in (c, m, q))
    projected = c @ params["w_b"]
    alike = [jnp.sum(projected * other, -1, keepdims=True) for other in (q, m)]
    m, q = (jnp.broadcast_to(x, c.shape) for x in (m, q))
    z = jnp.concatenate([c, m, q, c * q, c * m, jnp.abs(c - q), jnp.abs(c - m), *alike], -1)
    return jnp.tanh(z @ params["w_1"] + params["b_1"]) @ params["w_2"] + params.get("b_2", 0.0)


def _gates(form: str, relevance: Array, tells: Array) -> Array:
    """[T, B] in [0, 1], 0 but where a sentence ends (tells [T, B]); of softmax their sum is 1, or 0."""
    if form == "sigmoid":
        return jnp.where(tells, jax.nn.sigmoid(relevance), 0.0)
    least = jnp.finfo(relevance.dtype).min  # not -inf: of a story without sentences all are masked
    return jnp.where(tells, jax.nn.softmax(jnp.where(tells, relevance, least), axis=0), 0.0)


def dynamic_memory(
    *,
    outputs: int,
    vocab: int | None = None,
    input_dim: int | None = None,
    sentence_end: int,
    question_end: int,
    episodes: int = 3,
    episode_gates: str = "softmax",
    hidden: Sequence[int] = (80,),
    embedding: int = 200,
    tied: bool = False,
    init: str = "uniform(0.1)",
    cell: Mapping[str, Any] = {},
    dropout: Mapping[str, Any] = {},
    dtype: str = "float32",
    backend: str = "auto",
    scan_unroll: int = 1,
    remat_chunk: int = 0,
) -> Model:
    """The dynamic memory network of Kumar 2016, "Ask Me Anything", for tokens of a story and one question.

    A sequence is sentences that each end in `sentence_end`, then a question that ends in `question_end`; what
    follows that is not read. Four GRUs (`cells.gru`):
    words: reads the story as one text, and the question from a state of zeros (with the same weights); c_s is
      its state at the end of sentence s, q the one at the end of the question;
    episode: e = h_S of h_s = g_s GRU(c_s, h_s-1) + (1 - g_s) h_s-1, with gates g_s of G(c_s, m, q);
    memory: m' = GRU(e, m), from m = q, in `episodes` passes;
    answer: a = GRU(q, m), a step of the paper's answer module with no word before; logits = a W + b.
    The gates are learned from the answers alone: the paper's supervision of them, which tells which sentences
    matter, is left out. Without it the paper's sigmoid gates all open and stay so (measured on the questions
    "one": 0.69 right of stories of two sentences, as who does not look at the person); so by default they
    compete, g = softmax over the sentences of G, as in Xiong, Merity & Socher 2016 (DMN+, equation 10).

    The logits are the same at every step: a task scores the step that it wants. Nothing is carried from one
    window to the next. Each pass has a step for every token, with a gate of 0 where no sentence ends.
    Traces: those of `words`, and `attention` [T, B, episodes], the gates.

    Args:
      outputs: O, answers.
      vocab: V of the tokens. Features (`input_dim`) have no words, and are refused.
      input_dim: must be None.
      sentence_end: the token that ends a sentence of the story.
      question_end: the token that ends the question.
      episodes: passes over the sentences.
      episode_gates: "softmax" (Xiong 2016; b_2 would do nothing and is left out) or "sigmoid" (Kumar 2016).
      hidden: H of all four GRUs: one number, as a sequence.
      embedding: E.
      tied: must be False: answers are not words.
      init: initial values of embedding and head weights, `uniform(a)`, the head bias being 0.
      cell: of the config's section only `init` is read: that of the GRUs and of the attention.
      dropout: rates by name; of DROPOUT these act: embedding, input, output, locked.
      dtype: compute dtype of the GRUs and the head; the attention, parameters and logits stay float32.
      backend: of lstm_jax.unroll.BACKENDS, or "auto".
      scan_unroll: steps unrolled in one iteration of the scan.
      remat_chunk: steps between kept carries, the others being recomputed; 0 keeps all.

    Raises:
      UserError: what the above excludes, an unknown name, or a backend that cannot serve.
    """
    check_name(dtype, DTYPES, "dtype")
    check_name(episode_gates, EPISODE_GATES, "model.episode_gates")
    if vocab is None or input_dim is not None:
        raise UserError("the model dynamic_memory reads tokens: take a task of words, such as questions")
    if len(hidden) != 1 or hidden[0] < 1:
        raise UserError(f"model.hidden={tuple(hidden)}: dynamic_memory has one width for all, e.g. (80,)")
    if tied:
        raise UserError("model.tied: the answers of dynamic_memory are not its words; set it to False")
    if not isinstance(episodes, int) or episodes < 1:
        raise UserError(f"model.episodes={episodes!r}: a positive whole number of passes, e.g. 3")
    for token in (sentence_end, question_end):
        if not 0 <= token < vocab:
            raise UserError(f"token {token} ends a sentence or question, and is none of the {vocab} tokens")
    rates = checked_rates(dropout)
    for name, rate in rates.items():
        if not absent(rate) and name not in OWN_DROPOUT:
            allowed = ", ".join(OWN_DROPOUT)
            raise UserError(
                f"dropout.{name}={rate}: the model dynamic_memory has {allowed} only; set it to 0"
            )
    if not init.startswith("uniform"):
        raise UserError(f"model.init={init!r}: embedding and head start as uniform(a), e.g. uniform(0.1)")
    weights, compute, width = initializer(init).vector, DTYPES[dtype], hidden[0]
    draws = initializer(cell.get("init", "lecun"))
    unit = gru(width, init=draws, dtype=compute)
    attentive = _attentive(unit)
    backend, why = unroll.choose(unit, backend, resets=True, chunk=remat_chunk)
    plain: dict[str, Any] = dict(backend=backend, unroll=scan_unroll, chunk=remat_chunk)
    features = 7 * width + 2

    def init_params(key: Key) -> Params:
        def own(name: str) -> Key:
            return rng.stream(key, name)

        shift = {"b_2": jnp.zeros(())} if episode_gates == "sigmoid" else {}
        return {
            "embedding": weights(own("embedding"), (vocab, embedding)),
            "words": unit.init(own("words"), embedding),
            "attention": {
                "w_b": draws.w_x(own("w_b"), (width, 1, width))[:, 0],
                "w_1": draws.w_x(own("w_1"), (features, 1, width))[:, 0],
                "b_1": jnp.zeros(width),
                "w_2": draws.w_x(own("w_2"), (width, 1, 1))[:, 0, 0],
                **shift,
            },
            "episode": unit.init(own("episode"), width),
            "memory": unit.init(own("memory"), width),
            "answer": unit.init(own("answer"), width),
            "head": {"w": weights(own("head"), (width, outputs)), "b": jnp.zeros(outputs)},
        }

    def head(params: Params, states: Array) -> Array:
        return linear_head(states, params["head"]["w"], params["head"]["b"], compute)

    def one_step(params: Params, x: Array, h: Array) -> Array:
        """GRU(x, h), both [B, H]."""
        seen, zs = unit.prepare(params, x[None], None)
        return unit.update(seen, GRUCarry(h), zs[0], unit.recur(seen, GRUCarry(h)))[1]

    def apply(
        params: Params,
        inputs: Array,
        carry: tuple,
        *,
        key: Key | None = None,
        lengths: Array | None = None,
        resets: Array | None = None,
        around: Callable[[int, Cell], Cell] | None = None,
    ) -> Outputs:
        def stream(name: str, index: int | None = None) -> Key | None:
            return None if key is None else rng.stream(key, name, index)

        if resets is not None or not jnp.issubdtype(inputs.dtype, jnp.integer):
            raise UserError("dynamic_memory takes tokens, one story and its question each, and no resets")
        times = jnp.arange(inputs.shape[0])[:, None]  # len() takes no symbolic T
        asked = inputs == question_end
        if lengths is not None:
            asked &= times < lengths
        end = jnp.where(asked.any(0), asked.argmax(0), inputs.shape[0] if lengths is None else lengths)
        tells = (inputs == sentence_end) & (times < end)
        begin = jnp.max(jnp.where(tells, times + 1, 0), 0)  # of the question

        x = drop_words(params["embedding"][inputs], inputs, vocab, rates["embedding"], stream("embedding"))
        x = drop(x.astype(compute), rates["input"], stream("dropout", 0), locked=rates["locked"])
        reader = unit if around is None else around(0, unit)
        options = plain if around is None else plain | {"backend": "scan"}
        words = unroll.unroll(reader, params["words"], x, resets=times == begin, **options)
        question = jnp.sum(jnp.where((asked & (times == end))[..., None], words.ys, 0), 0)

        def one_pass(memory: Array, _: None) -> tuple[Array, Array]:
            relevance = _relevance(params["attention"], words.ys, memory, question)
            gate = _gates(episode_gates, relevance, tells)
            xs = jnp.concatenate([words.ys.astype(gate.dtype), gate[..., None]], -1)
            episode = unroll.unroll(attentive, params["episode"], xs, **options).carry.h
            return one_step(params["memory"], episode, memory), gate

        memory, gates = jax.lax.scan(one_pass, question, None, length=episodes)
        answer = one_step(params["answer"], question, memory)[None]
        dropped = drop(answer, rates["output"], stream("dropout", 1))
        wide_as = (inputs.shape[0], *answer.shape[1:])
        logits = head(params, dropped)
        return Outputs(
            jnp.broadcast_to(logits, (inputs.shape[0], *logits.shape[1:])),
            (),
            jnp.broadcast_to(answer, wide_as),
            jnp.broadcast_to(dropped, wide_as),
            (words.trace, {"attention": jnp.moveaxis(gates, 0, -1)}),
        )

    return Model(init_params, lambda params, batch: (), apply, head, backend, why)
