"""The model classifier against sequences read one by one without padding, and PyTorch's packed ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import models
from lstm_jax.models import pooling
from lstm_jax.support.errors import UserError
from tests import oracles

T, V, E, H, O = 6, 9, 3, 4, 3
LENGTHS = np.array([4, 6, 1, 2], np.int32)
B = len(LENGTHS)


def make(**changes):
    options = dict(vocab=V, outputs=O, hidden=(H,), embedding=E, init="uniform(0.7)")
    return models.classifier(**options | changes)


def tokens():
    """[T, B], 0 past each length and nowhere else."""
    drawn = np.random.default_rng(0).integers(1, V, (T, B))
    return jnp.asarray(np.where(np.arange(T)[:, None] < LENGTHS, drawn, 0), jnp.int32)


def alone(params, row, cell, directions):
    """States [N, F] of one unpadded sequence, in plain NumPy: forward, then what is read backwards."""
    x = np.asarray(params["embedding"])[row][:, None]
    start = {"h": np.zeros((1, H))}
    for index in range(len(params["layers"])):
        ways = [oracles.run(cell, params["layers"][index], start, x)[1]]
        if directions == 2:
            ways.append(oracles.run(cell, params["backward"][index], start, x[::-1])[1][::-1])
        x = np.concatenate(ways, -1)
    return x[:, 0]


def run(model, params, inputs, lengths=LENGTHS, **options):
    """What the model gives, compiled as one program."""
    lengths = None if lengths is None else jnp.asarray(lengths)
    return jax.jit(lambda p, x: model.apply(p, x, (), lengths=lengths, **options))(params, inputs)


def pooled(kind, states, params, directions):
    if kind == "mean":
        return states.mean(0)
    if kind == "attention":
        p = jax.tree.map(np.asarray, params["attention"])
        scores = np.tanh(states @ p["w"] + p["b"]) @ p["v"]
        weights = np.exp(scores - scores.max())
        return weights @ states / weights.sum()
    return states[-1] if directions == 1 else np.concatenate([states[-1, :H], states[0, H:]])


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", pooling.POOLING)
def test_each_sequence_is_answered_as_if_it_were_alone_and_unpadded(kind, directions):
    model = make(hidden=(H, H), pooling=kind, directions=directions, cell={"name": "gru"})
    params, inputs = model.init(jax.random.key(1)), tokens()
    out = run(model, params, inputs)
    assert out.logits.shape == (T, B, O) and out.hidden.shape == (T, B, H * directions)
    for b, length in enumerate(LENGTHS):
        states = alone(params, np.asarray(inputs)[:length, b], "gru", directions)
        np.testing.assert_allclose(out.hidden[:length, b], states, rtol=1e-5, atol=1e-6)
        assert not np.any(out.hidden[length:, b])
        state = pooled(kind, states, params, directions)
        expected = state @ np.asarray(params["head"]["w"]) + np.asarray(params["head"]["b"])
        for t in range(T):
            np.testing.assert_allclose(out.logits[t, b], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(out.dropped[0, b], state, rtol=1e-5, atol=1e-6)


def test_backwards_is_within_each_length_and_its_own_inverse():
    x = jnp.arange(T * B * 2).reshape(T, B, 2)
    turned = np.asarray(pooling.reverse(x, jnp.asarray(LENGTHS)))
    for b, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(turned[:length, b], np.asarray(x)[:length, b][::-1])
        np.testing.assert_array_equal(turned[length:, b], np.asarray(x)[length:, b])  # the padding stays
    np.testing.assert_array_equal(pooling.reverse(jnp.asarray(turned), jnp.asarray(LENGTHS)), x)


def test_lengths_are_those_of_the_padding_where_none_are_given():
    inputs = tokens().at[1, 0].set(0)  # a 0 in the middle is no end
    np.testing.assert_array_equal(pooling.lengths_from_padding(inputs), LENGTHS)
    np.testing.assert_array_equal(pooling.lengths_from_padding(jnp.zeros((3, 2), jnp.int32)), [0, 0])
    model = make(directions=2, pooling="attention")
    params = model.init(jax.random.key(1))
    given = run(model, params, tokens()).logits
    np.testing.assert_array_equal(run(model, params, tokens(), None).logits, given)


@pytest.mark.parametrize("kind", pooling.POOLING)
def test_padding_has_no_say_in_loss_or_gradient_and_no_sequence_is_none(kind):
    model = make(directions=2, pooling=kind)
    params, lengths = model.init(jax.random.key(1)), jnp.asarray([3, 0, 2], jnp.int32)
    inputs = tokens()[:, :3]
    longer = jnp.concatenate([inputs, jnp.full((5, 3), V - 1, jnp.int32)])  # anything may stand there

    def total(params, inputs):
        return jnp.square(model.apply(params, inputs, (), lengths=lengths).logits[0]).sum()

    both = jax.jit(jax.value_and_grad(total))
    (value, gradient), (more, same) = both(params, inputs), both(params, longer)
    np.testing.assert_allclose(more, value, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), gradient, same)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    out = run(model, params, inputs, lengths)
    np.testing.assert_allclose(out.logits[0, 1], params["head"]["b"])  # nothing was read


def test_one_direction_and_the_last_step_is_the_recurrent_model_there():
    model, plain = make(hidden=(H, H)), models.recurrent(
        vocab=V, outputs=O, hidden=(H, H), embedding=E, init="uniform(0.7)"
    )  # fmt: skip
    params = model.init(jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(jax.random.key(1)))
    found = run(model, params, tokens()).logits[0]
    apply = jax.jit(lambda p, x: plain.apply(p, x, plain.carry(p, B), lengths=jnp.asarray(LENGTHS)).logits)
    everywhere = apply(params, tokens())
    np.testing.assert_allclose(found, everywhere[LENGTHS - 1, np.arange(B)], rtol=1e-5, atol=1e-6)


def test_it_is_pytorchs_bidirectional_lstm_on_packed_sequences():
    torch = pytest.importorskip("torch")
    model = make(hidden=(H, H), directions=2)
    params, inputs = model.init(jax.random.key(1)), tokens()
    theirs = torch.nn.LSTM(E, H, num_layers=2, bidirectional=True)
    with torch.no_grad():
        for way, suffix in (("layers", ""), ("backward", "_reverse")):
            for index, layer in enumerate(params[way]):
                for name, leaf in (("ih", layer["w_x"]), ("hh", layer["w_h"])):
                    weight = np.asarray(leaf).reshape(len(leaf), 4 * H).T
                    getattr(theirs, f"weight_{name}_l{index}{suffix}").copy_(torch.tensor(weight))
                getattr(theirs, f"bias_ih_l{index}{suffix}").copy_(torch.tensor(np.array(layer["b"]).ravel()))
                getattr(theirs, f"bias_hh_l{index}{suffix}").zero_()
        words = torch.tensor(np.asarray(params["embedding"])[np.asarray(inputs)])
        packed = torch.nn.utils.rnn.pack_padded_sequence(words, torch.tensor(LENGTHS), enforce_sorted=False)
        states, (last, _) = theirs(packed)
        states = torch.nn.utils.rnn.pad_packed_sequence(states, total_length=T)[0]
    out = run(model, params, inputs)
    np.testing.assert_allclose(out.hidden, states.numpy(), rtol=1e-5, atol=1e-6)
    both = np.concatenate([last[-2], last[-1]], -1)
    np.testing.assert_allclose(out.dropped[0], both, rtol=1e-5, atol=1e-6)


def test_every_cell_reads_both_ways_with_dropout():
    for name in ("projected_lstm", "min_gru"):
        model = make(directions=2, cell={"name": name}, dropout={"input": 0.3, "output": 0.3, "weight": 0.0})
        params = model.init(jax.random.key(0))
        once, again = (run(model, params, tokens(), key=jax.random.key(1)).logits for _ in range(2))
        np.testing.assert_array_equal(once, again)
        assert once.shape == (T, B, O) and np.isfinite(once).all()
        trace = jax.eval_shape(lambda p, model=model: model.apply(p, tokens(), ()).traces[0], params)
        assert all(f"{gate}_backward" in trace for gate in trace if not gate.endswith("_backward"))


def test_features_are_read_to_the_end_without_lengths():
    model = models.classifier(input_dim=2, outputs=O, hidden=(H,), pooling="mean")
    params, x = model.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (T, B, 2))
    full = jnp.full(B, T, jnp.int32)
    np.testing.assert_array_equal(run(model, params, x, None).logits, run(model, params, x, full).logits)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(directions=3), r"directions=3: 1 \(forward\) or 2"),
        (dict(pooling="max"), "unknown model.pooling 'max': .*allowed: last, mean, attention"),
        (dict(tied=True), "model.tied"),
        (dict(hidden=()), "one positive width a layer"),
        (dict(input_dim=2), "exactly one"),
        (dict(init="normal"), "uniform"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(changes, said):
    with pytest.raises(UserError, match=said) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


def test_a_field_that_a_model_does_not_read_is_refused_unless_it_is_unset():
    sizes = dict(vocab=V, outputs=O, hidden=(H,))
    models.make_model("recurrent", directions=1, pooling="last", episodes=3, **sizes)
    with pytest.raises(
        UserError, match=r"model.directions=2 means nothing to the model 'recurrent'.*classifier"
    ):
        models.make_model("recurrent", directions=2, **sizes)
    with pytest.raises(UserError, match=r"model.episodes=2 means nothing to the model 'classifier'"):
        models.make_model("classifier", episodes=2, **sizes)
