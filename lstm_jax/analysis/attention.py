"""Attention that a question turns on the sentences of a story, and that a classifier turns on words."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_jax.analysis.style import COLOURS, headline, new_figure, shown_token, tidy
from lstm_jax.support.errors import UserError

__all__ = ["Story", "stories_figure", "words_figure"]


class Story(NamedTuple):
    """What was read, where the attention was, and the answer.

    Attributes:
      sentences: S of them, in order.
      gates: [S, K], of each sentence in each of K passes, in [0, 1].
      question: that was asked.
      answer: the right one.
      said: the network's.
    """

    sentences: Sequence[str]
    gates: np.ndarray
    question: str
    answer: str
    said: str

    @property
    def outcome(self) -> str:
        """Returns the network's answer, and the right one where it differs."""
        return self.said if self.said == self.answer else f"{self.said} (wrong: {self.answer})"


def stories_figure(stories: Sequence[Story], *, title: str = "") -> Figure:
    """Sentences from top to bottom, passes from left to right, a panel for each story.

    Args:
      stories: one or more.
      title: above the figure.

    Raises:
      UserError: no story, or one whose gates are not one row for each sentence.
    """
    if not stories:
        raise UserError("a figure of attention needs one story or more")
    for story in stories:
        if np.ndim(story.gates) != 2 or len(story.gates) != len(story.sentences):
            shape = list(np.shape(story.gates))
            raise UserError(f"gates {shape} need a row for each of the {len(story.sentences)} sentences")
    heights = [len(story.sentences) + 2.2 for story in stories]
    drawing = new_figure(0.45 + 0.19 * sum(heights))
    headline(drawing, title)
    panels = drawing.subplots(len(stories), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, story in zip(panels, stories, strict=True):
        passes = np.shape(story.gates)[1]
        image = axes.imshow(
            story.gates, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest"
        )
        axes.set_yticks(range(len(story.sentences)), story.sentences, fontsize=8)
        axes.set_xticks(range(passes), [str(number + 1) for number in range(passes)], fontsize=8)
        axes.tick_params(length=0)
        axes.set_title(
            f"{story.question}  {story.outcome}", fontsize=9, loc="left", pad=3,
            color="black" if story.said == story.answer else COLOURS["vermilion"],
        )  # fmt: skip
    panels[-1].set_xlabel("pass over the story", fontsize=9)
    bar = drawing.colorbar(image, ax=panels, pad=0.02, fraction=0.04, aspect=30)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("gate: how much the sentence counts", fontsize=8)
    return drawing


def words_figure(weights: Any, words: Sequence[str], *, title: str = "") -> Figure:
    """The weight of each word in the mean that a classifier decides by, as bars.

    Args:
      weights: [T], with the sum 1.
      words: [T].
      title: above the figure.

    Raises:
      UserError: as many words as there are not weights.
    """
    weights = np.asarray(weights)
    if weights.shape != (len(words),):
        raise UserError(f"weights {list(weights.shape)} need as many words, not {len(words)}")
    drawing = new_figure(2.6)
    headline(drawing, title)
    axes = drawing.subplots()
    axes.bar(range(len(words)), weights, color=COLOURS["blue"], label="attention")
    axes.axhline(1 / max(len(words), 1), color=COLOURS["grey"], linestyle="--", label="all alike")
    axes.set_xticks(
        range(len(words)), list(map(shown_token, words)), rotation=60, ha="right", rotation_mode="anchor"
    )
    axes.set_ylabel("attention weight", fontsize=9)
    axes.set_xlabel("word of the text", fontsize=9)
    tidy(axes)
    axes.grid(visible=False, axis="x")
    axes.legend(fontsize=8, frameon=False)
    return drawing
