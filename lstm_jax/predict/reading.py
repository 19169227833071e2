"""A text read word by word by a language model: what it expected at each, and what happened inside."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.cells.trace import of_units
from lstm_jax.corpora import Vocabulary
from lstm_jax.models.loss import cross_entropy
from lstm_jax.predict.language_model import LanguageModel
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params

__all__ = ["LENGTHS", "ReadText", "Reader"]

LENGTHS = (16, 64, 256)
"""Steps of a compiled call. A text is padded to the next of them, so that each is compiled once; a longer
text takes several calls of the longest."""
BITS = float(np.log(2.0))
"""Nats in a bit."""


class ReadText(NamedTuple):
    """A text of N tokens as the beginning of a line: N + 1 steps, the first of which reads the end of a line.

    Attributes:
      tokens: [N] as written.
      known: [N] False where the token was read as `<unk>`, whose surprisal and rank it then has.
      bits: [N] float32, surprisal of each token given all before it.
      ranks: [N] int32, 1 where the token was the likeliest.
      expected: [N + 1, K] int32, numbers of the likeliest next tokens after each step, likeliest first.
      probabilities: [N + 1, K] float32 of these.
      traces: a dict a layer, name -> [N + 1, H]; empty unless they were asked for.
    """

    tokens: tuple[str, ...]
    known: tuple[bool, ...]
    bits: np.ndarray
    ranks: np.ndarray
    expected: np.ndarray
    probabilities: np.ndarray
    traces: tuple[dict[str, np.ndarray], ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """The tokens that were read as `<unk>`, each once, in order."""
        lacking = (token for token, known in zip(self.tokens, self.known, strict=True) if not known)
        return tuple(dict.fromkeys(lacking))


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads texts with a language model. One at a time: it may not be called from two threads at once.

    Attributes:
      lm: the model.
      top: K, how many of the likeliest next tokens are told; no more than there are.
      traced: whether the gates are told, too.

    Raises:
      UserError: `top` below 1.
    """

    lm: LanguageModel
    top: int = 5
    traced: bool = False

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"top={self.top} is not possible: ask for 1 word or more")

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the model."""
        return self.lm.vocabulary

    def read(self, text: str) -> ReadText:
        """Reads `text`, from an empty memory.

        Args:
          text: any text, also none; a line break is an end-of-line token.

        Raises:
          UserError: an unknown token where there is no `<unk>`.
        """
        written, numbers = self.lm.encode(text, "the text")
        steps = len(numbers) + 1
        inputs = np.concatenate([[self.vocabulary.eos], numbers]).astype(np.int32)
        targets = np.concatenate([numbers, [0]]).astype(np.int32)  # nothing follows the last one
        carry = self.lm.model.carry(self.lm.params, 1)
        parts = []
        for begin in range(0, steps, LENGTHS[-1]):
            count = min(steps - begin, LENGTHS[-1])
            length = next(length for length in LENGTHS if length >= count)
            window = [np.pad(a[begin : begin + count], (0, length - count)) for a in (inputs, targets)]
            found, carry = self._window(self.lm.params, *window, jnp.int32(count), carry)
            parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], found))
        nats, ranks, expected, probabilities, traces = jax.tree.map(
            lambda *leaves: np.concatenate(leaves), *parts
        )
        known = tuple(token in self.vocabulary.index for token in written)
        bits = nats[:-1] / np.float32(BITS)
        return ReadText(tuple(written), known, bits, ranks[:-1], expected, probabilities, traces)

    @functools.cached_property
    def _window(self) -> Any:
        top = min(self.top, len(self.vocabulary))

        @jax.jit
        def window(params: Params, inputs: Array, targets: Array, count: Array, carry: Any) -> tuple:
            outputs = self.lm.model.apply(params, inputs[:, None], carry, lengths=count[None])
            logits = outputs.logits[:, 0]
            own = jnp.take_along_axis(logits, targets[:, None], axis=1)
            ranks = 1 + jnp.sum(logits > own, axis=1, dtype=jnp.int32)
            probabilities, expected = jax.lax.top_k(jax.nn.softmax(logits), top)
            traces = tuple(
                {name: value[:, 0] for name, value in of_units(trace).items() if self.traced}
                for trace in outputs.traces
            )
            found = (cross_entropy(logits, targets), ranks, expected, probabilities, traces)
            return found, outputs.carry

        return window
