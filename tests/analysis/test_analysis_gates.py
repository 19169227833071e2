"""Heat maps of gates: what is drawn, in which order, under which tokens."""

import numpy as np
import pytest

from lstm_jax.analysis import gates
from lstm_jax.analysis.style import shown_token

DRAW = np.random.default_rng(0)
TRACE = {name: DRAW.uniform(-1 if name in "cg" else 0, 1, (4, 6)) for name in "cfgio"}
TOKENS = ["<eos>", "the", "cat", "$"]


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def test_every_gate_is_drawn_in_order_over_its_tokens(tmp_path):
    figure = gates.figure(TRACE, TOKENS)
    figure.savefig(tmp_path / "x.png")
    drawn = panels(figure)
    assert [title[-1] for title in drawn] == ["i", "f", "g", "o", "c"]
    for title, axes in drawn.items():
        np.testing.assert_allclose(axes.images[0].get_array(), TRACE[title[-1]].T, rtol=1e-6)
    last = list(drawn.values())[-1]
    assert [label.get_text() for label in last.get_xticklabels()] == ["<eos>", "the", "cat", "$"]
    assert figure.get_supylabel() == "unit" and last.get_xlabel()
    assert drawn["forget gate f"].images[0].get_clim() == (0, 1)
    low, high = drawn["cell state c"].images[0].get_clim()
    assert low == -high


def test_units_stand_by_time_scale_which_is_written_beside_them():
    scale = np.array([3.0, 1.0, 2.0, 50.0, 0.5, 4.0])
    order = np.argsort(scale)
    figure = gates.figure(TRACE, TOKENS, order=order, scale=scale, unit="tokens")
    axes = panels(figure)["forget gate f"]
    np.testing.assert_allclose(axes.images[0].get_array(), TRACE["f"][:, order].T, rtol=1e-6)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "0.5" and labels[-1] == "50"
    assert figure.get_supylabel() == "unit, by its time scale (tokens)"


def test_of_many_units_every_nth_is_drawn_with_the_longest():
    wide = DRAW.uniform(0, 1, (4, 200))
    scale = np.arange(200.0) + 1
    figure = gates.figure({"f": wide}, TOKENS, order=np.arange(200), scale=scale)
    drawn = panels(figure)["forget gate f"].images[0].get_array()
    np.testing.assert_allclose(drawn, wide[:, 3::4].T, rtol=1e-6)
    assert figure.get_supylabel().startswith("every 4th unit")


@pytest.mark.parametrize(
    ("token", "seen"),
    [("the", "the"), (" ", "\u2423"), ("\n", "\u21b5"), ("$", "$"), ("a" * 20, "a" * 13 + "\u2026")],
)
def test_tokens_fit_for_an_axis(token, seen):
    assert shown_token(token) == seen
