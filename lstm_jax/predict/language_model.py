"""A trained language model: continues a prompt, and tells how likely it finds a text."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.corpora import Vocabulary
from lstm_jax.models import Model
from lstm_jax.models.loss import cross_entropy
from lstm_jax.predict.sampling import GREEDY_BELOW, check_sampling, choose
from lstm_jax.predict.text import encode, readable, unknown
from lstm_jax.support import rng
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["LanguageModel", "LineScore", "Sample"]

BLOCK = 64
"""Tokens in one compiled call of generation; changes nothing that is drawn."""
LINES = 16
"""Lines scored side by side where each has a carry of its own."""
WINDOW, LONE_WINDOW = 32, 256
"""Tokens in one compiled call of scoring, side by side and alone: what bounds the memory, however long a
line is."""
LONG = 1024
"""A line of more tokens is scored alone: beside it the shorter ones would cost as much as it does."""


class Sample(NamedTuple):
    """One continuation.

    Attributes:
      text: prompt and continuation, set for reading.
      raw: the same as the corpus has it: words with a space between, punctuation apart.
      prompt: the tokens of the prompt as the model read them.
      tokens: the tokens that were drawn.
      unknown: tokens of the prompt that were read as `<unk>`.
    """

    text: str
    raw: str
    prompt: tuple[str, ...]
    tokens: tuple[str, ...]
    unknown: tuple[str, ...]


class LineScore(NamedTuple):
    """How likely one line is.

    Attributes:
      text: the line as it was given, without its line break.
      tokens: [N] as written; the last one is the end of the line, which is scored too.
      known: [N] False where the token was read as `<unk>`, whose log-probability it then has.
      log_probs: [N] float32 nats, each given all the tokens before it.
    """

    text: str
    tokens: tuple[str, ...]
    known: tuple[bool, ...]
    log_probs: np.ndarray

    @property
    def unknown_count(self) -> int:
        """Tokens that were read as `<unk>`."""
        return self.known.count(False)

    @property
    def nats(self) -> float:
        """Minus the log-probability of the whole line."""
        return -float(np.sum(self.log_probs, dtype=np.float64))

    @property
    def perplexity(self) -> float:
        """Per token, of this line alone; inf beyond what a float holds."""
        mean = self.nats / len(self.tokens)
        return math.exp(mean) if mean < 700 else math.inf


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A model, its parameters and its vocabulary. Dropout is always off.

    Attributes:
      model, params, vocabulary: as trained.
      trims: the space at either end of a line is left out before it is read, as the corpus did; see `encode`.
      step: training step of the parameters, where known.
      directory: of the run, where it was read from one.
    """

    model: Model
    params: Params
    vocabulary: Vocabulary
    trims: bool = False
    step: int | None = None
    directory: str | None = None

    def __reduce__(self) -> tuple:
        """Pickles the run's directory: another process reads it there."""
        if self.directory is None:
            raise TypeError("a LanguageModel can be pickled where it was read from a run's directory")
        from lstm_jax.predict.loading import load  # which imports this module

        return load, (self.directory,)

    def encode(self, text: str, what: str) -> tuple[list[str], np.ndarray]:
        """Splits a text into tokens as they are written, and their numbers [N] int32.

        Where the model `trims`, the space at either end of a line is left out; at the end of a last line
        without its line break it stays, for the line may go on.

        Raises:
          UserError: as `text.encode`.
        """
        if self.trims:
            *lines, last = text.split("\n")
            text = "\n".join([*map(str.strip, lines), last.lstrip()])
        return encode(self.vocabulary, text, what)

    def generate(
        self,
        prompt: str = "",
        tokens: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        samples: int = 1,
        allow_unknown: bool = False,
    ) -> list[Sample]:
        """Continuations of `prompt`, which is read as the beginning of a line.

        Sample i depends on the seed and i only, not on how many are drawn or how long they become.

        Args:
          prompt: any text. Unknown tokens are read as `<unk>` and reported in `Sample.unknown`.
          tokens: tokens of each continuation; an end of line counts as one.
          temperature: divides the logits; 0 is greedy.
          top_k: only the k likeliest tokens; None: all.
          top_p: only the likeliest tokens that together reach this probability.
          seed: from 0 to 2^32 - 1.
          samples: how many.
          allow_unknown: whether `<unk>` itself may be drawn.

        Raises:
          UserError: an option out of its range, or an unknown token where there is no `<unk>`.
        """
        check_sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        if min(tokens, samples) < 1:
            raise UserError(f"tokens={tokens} and samples={samples} must be 1 or more")
        written, numbers = self.encode(prompt, "the prompt")
        carry, last = self._read(np.concatenate([[self.vocabulary.eos], numbers]))
        carry = jax.tree.map(lambda leaf: jnp.repeat(leaf, samples, axis=0), carry)
        state = (carry, jnp.full(samples, last, jnp.int32))
        root = rng.stream(jax.random.key(seed), "generate")
        keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(samples))
        size = len(self.vocabulary)
        banned = np.zeros(size, bool)
        if self.vocabulary.unk is not None and not allow_unknown:
            banned[self.vocabulary.unk] = True
        options = (
            jnp.float32(temperature if temperature >= GREEDY_BELOW else 0.0),
            jnp.int32(min(top_k or size, size)),
            jnp.float32(top_p),
            jnp.asarray(banned),
        )
        restricted = top_k is not None or top_p < 1
        blocks = []
        for begin in range(0, tokens, BLOCK):
            state, block = self._continue(self.params, state, keys, jnp.int32(begin), options, restricted)
            blocks.append(np.asarray(block))
        drawn = np.concatenate(blocks)[:tokens].T
        strange = unknown(self.vocabulary, written)
        return [self._sample(numbers.tolist(), row.tolist(), strange) for row in drawn]

    def _sample(self, prompt: list[int], drawn: list[int], strange: tuple[str, ...]) -> Sample:
        known = self.vocabulary.tokens
        read, tokens = (tuple(known[number] for number in part) for part in (prompt, drawn))
        raw = self.vocabulary.decode(prompt + drawn)
        return Sample(readable(self.vocabulary, read + tokens), raw, read, tokens, strange)

    def score(
        self, lines: Iterable[str], *, carried: bool = False, together: int = LINES
    ) -> Iterator[LineScore]:
        """Log-probabilities of lines, one after the other as they are read.

        Every line is closed by an end-of-line token, which is scored as in evaluation, and begins after
        one. Memory is bounded whatever the number and the length of the lines.

        Args:
          lines: with or without their line breaks.
          carried: the carry goes from line to line as in static evaluation, so that the lines make up one
            text; else each line has a carry of its own and its score is independent of the others.
          together: lines read before the first score is given.

        Raises:
          UserError: an unknown token where there is no `<unk>`.
        """
        state = self.model.carry(self.params, 1)
        numbered = enumerate(lines, 1)
        while group := list(itertools.islice(numbered, together)):
            read = [self._encode_line(line, number) for number, line in group]
            if carried:
                whole = np.concatenate([numbers for _, numbers in read])
                (scores,), state = self._log_probs([whole], state)
                ends = np.cumsum([len(numbers) for _, numbers in read])
                parts = np.split(scores, ends[:-1])
            else:
                parts = self._score_apart([numbers for _, numbers in read], together)
            for (_, line), (written, _), part in zip(group, read, parts, strict=True):
                known = tuple(token in self.vocabulary.index for token in written)
                yield LineScore(line.rstrip("\r\n"), tuple(written), known, part)

    def _encode_line(self, line: str, number: int) -> tuple[list[str], np.ndarray]:
        return self.encode(line.rstrip("\r\n") + "\n", f"line {number}")

    def _score_apart(self, rows: list[np.ndarray], together: int) -> list[np.ndarray]:
        """Log-probabilities of each row's tokens, each row with a fresh carry."""
        short = [row if len(row) <= LONG else row[:0] for row in rows]
        # Always the same number of rows, so that the last group needs no compilation of its own.
        short += [np.zeros(0, np.int32)] * (together - len(rows))
        found, _ = self._log_probs(short, self.model.carry(self.params, together))
        for place, row in enumerate(rows):
            if len(row) > LONG:
                (found[place],), _ = self._log_probs([row], self.model.carry(self.params, 1))
        return found[: len(rows)]

    def _log_probs(self, rows: list[np.ndarray], carry: Any) -> tuple[list[np.ndarray], Any]:
        """Log-probabilities of each row's tokens, and the carries behind them; a row follows a line's end."""
        lengths = np.array([len(row) for row in rows], np.int32)
        window = LONE_WINDOW if len(rows) == 1 else WINDOW
        steps = -(-int(lengths.max()) // window) * window
        targets = np.zeros((steps, len(rows)), np.int32)
        for column, row in enumerate(rows):
            targets[: len(row), column] = row
        inputs = np.concatenate([np.full((1, len(rows)), self.vocabulary.eos, np.int32), targets])[:-1]
        found = np.zeros(targets.shape, np.float32)
        for begin in range(0, steps, window):
            part = slice(begin, begin + window)
            rest = np.clip(lengths - begin, 0, window)
            found[part], carry = self._window(self.params, inputs[part], targets[part], rest, carry)
        return [found[: len(row), column] for column, row in enumerate(rows)], carry

    @functools.cached_property
    def _window(self) -> Any:
        @jax.jit
        def window(params: Params, inputs: Array, targets: Array, lengths: Array, carry: Any) -> tuple:
            outputs = self.model.apply(params, inputs, carry, lengths=lengths)
            return -cross_entropy(outputs.logits, targets), outputs.carry

        return window

    def _read(self, numbers: np.ndarray) -> tuple[Any, int]:
        """The carry [1, ...] after all of `numbers` but the last, and that last one, still to be read."""
        carry = self.model.carry(self.params, 1)
        *before, last = (int(number) for number in numbers)
        for begin in range(0, len(before), BLOCK):
            part = np.asarray(before[begin : begin + BLOCK], np.int32)
            padded = np.pad(part, (0, BLOCK - len(part)))
            carry = self._consume(self.params, padded, jnp.int32(len(part)), carry)
        return carry, last

    @functools.cached_property
    def _consume(self) -> Any:
        @jax.jit
        def consume(params: Params, tokens: Array, count: Array, carry: Any) -> Any:
            def step(at: Array, carry: Any) -> Any:
                return self.model.apply(params, tokens[at][None, None], carry).carry

            return jax.lax.fori_loop(0, count, step, carry)

        return consume

    @functools.cached_property
    def _continue(self) -> Any:
        @functools.partial(jax.jit, static_argnums=5)
        def proceed(
            params: Params, state: Any, keys: Key, begin: Array, options: tuple, restricted: bool
        ) -> Any:
            temperature, top_k, top_p, banned = options

            def pick(key: Key, position: Array, logits: Array) -> Array:
                logits = jnp.where(banned, -jnp.inf, logits)
                key = jax.random.fold_in(key, position)
                return choose(key, logits, temperature, top_k, top_p, restricted=restricted)

            def step(state: Any, position: Array) -> Any:
                carry, token = state
                outputs = self.model.apply(params, token[None], carry)
                token = jax.vmap(pick, (0, None, 0))(keys, position, outputs.logits[0])
                return (outputs.carry, token), token

            return jax.lax.scan(step, state, begin + jnp.arange(BLOCK))

        return proceed
