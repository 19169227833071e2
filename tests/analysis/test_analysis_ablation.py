"""Held units against a plain loop in NumPy, and units that nobody listens to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import models
from lstm_jax.analysis import ablation
from lstm_jax.cells import CELLS
from lstm_jax.support.errors import UserError
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch

V, T, B, H = 7, 6, 3, (4, 3)


def make(cell="lstm", **options):
    model = models.recurrent(
        **dict(outputs=V, vocab=V, hidden=H, embedding=3, init="uniform(0.9)", cell={"name": cell}) | options
    )
    return model, model.init(jax.random.key(0))


def window(weights=None, lengths=None):
    draw = np.random.default_rng(0)
    inputs, targets = draw.integers(0, V, (2, T, B)).astype(np.int32)
    return Batch(jnp.asarray(inputs), jnp.asarray(targets), weights, lengths)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_loop(params, batch, layer, unit, field, value):
    """Nats [T, B] of an LSTM stack in float64, one unit's c or h held at a value (None: free)."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    inputs, targets = np.asarray(batch.inputs), np.asarray(batch.targets)
    c, h = ([np.zeros((B, width)) for width in H] for _ in range(2))
    nats, kept = np.zeros((T, B)), []
    for t in range(T):
        x = params["embedding"][inputs[t]]
        for index, p in enumerate(params["layers"]):
            a = np.einsum("bd,dgh->bgh", x, p["w_x"]) + np.einsum("bk,kgh->bgh", h[index], p["w_h"]) + p["b"]
            i, f, g, o = sigmoid(a[:, 0]), sigmoid(a[:, 1]), np.tanh(a[:, 2]), sigmoid(a[:, 3])
            c[index] = f * c[index] + i * g
            h[index] = o * np.tanh(c[index])
            if value is not None and index == layer:
                (h if field == "h" else c)[index][:, unit] = value
            x = h[index]
        kept.append([array.copy() for array in (h if field == "h" else c)])
        logits = x @ params["head"]["w"] + params["head"]["b"]
        log_z = np.log(np.exp(logits).sum(1))
        nats[t] = log_z - logits[np.arange(B), targets[t]]
    return nats, kept


@pytest.mark.parametrize("to", ablation.VALUES)
@pytest.mark.parametrize("field", ["h", "c"])
def test_equals_a_loop_over_units(field, to):
    model, params = make()
    batch = window()
    found = ablation.ablate(model, params, scores.nats, batch, field=field, to=to, together=3)
    assert list(zip(found.layer, found.unit, strict=True)) == [(0, u) for u in range(4)] + [
        (1, u) for u in range(3)
    ]
    free, kept = by_loop(params, batch, 0, 0, field, None)
    np.testing.assert_allclose(found.intact, free.mean(), rtol=1e-5)
    assert found.steps == T * B
    for layer, unit, effect, error in zip(found.layer, found.unit, found.effect, found.error, strict=True):
        value = 0.0 if to == "zero" else np.mean([step[layer][:, unit] for step in kept])
        rise = by_loop(params, batch, layer, unit, field, value)[0] - free
        # Differences of float32 losses of order 2: some 1e-7 each.
        np.testing.assert_allclose(effect, rise.mean(), atol=2e-6)
        np.testing.assert_allclose(error, rise.std(ddof=1) / np.sqrt(T * B), atol=2e-6)
        assert np.abs(rise).max() > 1e-3


def test_a_unit_without_outgoing_weights_changes_nothing():
    model, params = make()
    first, second = params["layers"]
    layers = (
        {**first, "w_h": first["w_h"].at[2].set(0)},
        {**second, "w_x": second["w_x"].at[2].set(0)},
    )
    found = ablation.ablate(model, params | {"layers": layers}, scores.nats, window(), to="zero")
    silent = (found.layer == 0) & (found.unit == 2)
    np.testing.assert_array_equal(found.effect[silent], 0)
    assert (np.abs(found.effect[~silent]) > 1e-4).all()


def test_a_cell_that_gives_its_memory():
    """minGRU: y is c, which is all there is to hold."""
    model, params = make("min_gru", hidden=(4,))
    found = ablation.ablate(model, params, scores.nats, window(), field="c", to="zero")
    for unit, effect in zip(found.unit, found.effect, strict=True):
        head = params["head"] | {"w": params["head"]["w"].at[unit].set(0)}
        expected = nats(model, params | {"head": head}, window()) - nats(model, params, window())
        np.testing.assert_allclose(effect, expected.mean(), atol=2e-6)


def test_an_h_that_is_not_the_output_is_refused():
    model, params = make("scrn", hidden=(4,))
    with pytest.raises(UserError, match=r"'scrn' is not its h.*allowed: s"):
        ablation.ablate(model, params, scores.nats, window())
    found = ablation.ablate(model, params, scores.nats, window(), field="s")
    assert (np.abs(found.effect) > 1e-6).any()


def test_a_memory_of_several_fields_is_refused():
    """The sLSTM's is c / n, and both are scaled by exp(-m)."""
    model, params = make("slstm", hidden=(4,))
    for field in ("c", "n", "m"):
        with pytest.raises(UserError, match=rf"'slstm' .* '{field}' alone means nothing: allowed: h"):
            ablation.ablate(model, params, scores.nats, window(), field=field)
    found = ablation.ablate(model, params, scores.nats, window(), units=2)
    assert (np.abs(found.effect) > 1e-6).all()


@pytest.mark.parametrize("name", CELLS)
def test_the_c_of_every_other_cell_can_be_held(name):
    model, params = make(name, hidden=(4,))
    if name == "slstm" or not hasattr(model.carry(params, B)[0], "c"):
        pytest.skip("no c that is its memory")
    assert ablation.widths(model, params, window().inputs, "c") == (4,)


@pytest.mark.parametrize("cell", ["gru", "elman", "peephole"])
def test_other_cells_have_their_h_held(cell):
    """Held at zero, a unit of h is one whose outgoing weights are zero, where nothing else reads it."""
    model, params = make(cell, hidden=(4,))
    batch = window()
    found = ablation.ablate(model, params, scores.nats, batch, to="zero")
    for unit, effect in zip(found.unit, found.effect, strict=True):
        (layer,) = params["layers"]
        cut = params | {"head": params["head"] | {"w": params["head"]["w"].at[unit].set(0)}}
        if cell != "gru":  # whose h is its memory too
            cut["layers"] = ({**layer, "w_h": layer["w_h"].at[unit].set(0)},)
            expected = nats(model, cut, batch).mean() - nats(model, params, batch).mean()
            np.testing.assert_allclose(effect, expected, atol=2e-6)
        assert abs(effect) > 1e-5


def nats(model, params, batch):
    return scores.nats(model.apply(params, batch.inputs, model.carry(params, B)).logits, batch)


def test_only_scored_steps_count():
    model, params = make()
    weights = np.zeros((T, B), np.float32)
    weights[3:, 1] = 1
    found = ablation.ablate(model, params, scores.nats, window(jnp.asarray(weights)), to="zero", units=1)
    batch = window()
    free = by_loop(params, batch, 0, 0, "h", None)[0][3:, 1]
    assert found.steps == 3
    np.testing.assert_allclose(found.intact, free.mean(), rtol=1e-5)
    for layer, unit, effect in zip(found.layer, found.unit, found.effect, strict=True):
        rise = by_loop(params, batch, layer, unit, "h", 0.0)[0][3:, 1] - free
        np.testing.assert_allclose(effect, rise.mean(), atol=2e-6)


def test_the_mean_is_that_of_real_steps():
    """Sequences of one step: what lies beyond their end is in no mean."""
    model, params = make()
    weights = np.zeros((T, B), np.float32)
    weights[0] = 1
    batch = window(jnp.asarray(weights), jnp.ones(B, jnp.int32))
    found = ablation.ablate(model, params, scores.nats, batch, field="c", units=1, seed=1)
    np.testing.assert_array_equal(found.effect, 0)  # c is not read again
    found = ablation.ablate(model, params, scores.nats, batch, field="h")
    _, kept = by_loop(params, batch, 0, 0, "h", None)
    last = found.layer == 1
    for unit, effect in zip(found.unit[last], found.effect[last], strict=True):
        free = by_loop(params, batch, 0, 0, "h", None)[0][0]
        rise = by_loop(params, batch, 1, unit, "h", kept[0][1][:, unit].mean())[0][0] - free
        np.testing.assert_allclose(effect, rise.mean(), atol=2e-6)


def test_a_draw_of_units_is_a_part_of_the_whole():
    model, params = make()
    whole = ablation.ablate(model, params, scores.nats, window())
    seen = []
    some = ablation.ablate(
        model, params, scores.nats, window(), units=2, seed=4, together=3,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert some.layer.tolist() == [0, 0, 1, 1] and seen == [(3, 4), (4, 4)]
    for layer, unit, effect in zip(some.layer, some.unit, some.effect, strict=True):
        (same,) = whole.effect[(whole.layer == layer) & (whole.unit == unit)]
        np.testing.assert_allclose(effect, same, atol=1e-6)


def test_figure_names_the_largest(tmp_path):
    found = ablation.Ablation(
        np.repeat([0, 1], 20),
        np.tile(np.arange(20), 2),
        np.linspace(0, 1, 40) ** 4,
        np.full(40, 0.01),
        4.7,
        99,
    )
    title = "a run with a name so long that it would not fit into one line of the figure, " + "x" * 90
    figure = ablation.figure(found, title=title, largest=5)
    assert figure.get_suptitle().split("\n")[-1] == "x" * 90 and len(figure.get_suptitle().split("\n")) == 2
    left, right = figure.axes
    names = [label.get_text() for label in right.get_yticklabels()]
    assert names == [f"layer 2, unit {unit}" for unit in (15, 16, 17, 18, 19)]
    assert "nats" in left.get_ylabel() and "every unit free: 4.700" in left.get_legend_handles_labels()[1]
    figure.savefig(tmp_path / "x.png")


def test_what_cannot_be_is_refused():
    model, params = make()
    with pytest.raises(UserError, match="'m' that could be held: allowed: c, h"):
        ablation.ablate(model, params, scores.nats, window(), field="m")
    with pytest.raises(UserError, match="value"):
        ablation.ablate(model, params, scores.nats, window(), to="nil")
    with pytest.raises(UserError, match="scored step"):
        ablation.ablate(model, params, scores.nats, window(jnp.zeros((T, B))))
