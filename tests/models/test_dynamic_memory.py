"""The dynamic memory network against its paper in NumPy, and what a question may and may not depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import models
from lstm_jax.support.errors import UserError
from tests import oracles

V, O, H, E = 9, 4, 5, 3
PERIOD, MARK, PAD = 7, 8, 0
# Sentences of words 1 to 6; a question; padding. Columns are sequences: three facts, one, and none.
STORIES = [
    [1, 2, 7, 3, 4, 5, 7, 6, 7, 1, 3, 8],
    [5, 6, 2, 7, 4, 2, 8, 0, 0, 7, 8, 0],
    [3, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
]
TOKENS = jnp.array(STORIES).T
T, B = TOKENS.shape


SIZES = dict(vocab=V, outputs=O, hidden=(H,), embedding=E)


def make(**changes):
    options = dict(sentence_end=PERIOD, question_end=MARK, init="uniform(1)")
    return models.dynamic_memory(**(SIZES | options | changes))


PLAIN = make()
SIGMOID = make(episode_gates="sigmoid")


def drawn(model, seed=1):
    """Parameters no zero hides: biases too."""
    params = model.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    moved = [a + 0.3 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, moved)


@functools.cache
def compiled(model):
    return jax.jit(model.apply, static_argnames="around")


def run(model, params, tokens=TOKENS, **options):
    return compiled(model)(params, tokens, model.carry(params, tokens.shape[1]), **options)


def by_the_paper(p, tokens, episodes, form):
    """Kumar 2016, section 3, of one sequence: logits [O], gates [episodes][sentence]; softmax: Xiong 2016."""

    def gru(part, x, h):
        return oracles.ORACLES["gru"](p[part], {"h": h}, x)[1]

    facts, h, asked = [], np.zeros(H), []
    for token in tokens:
        asked.append(token)
        if token == MARK:
            break
        if token == PERIOD:
            for word in asked:
                h = gru("words", p["embedding"][word], h)
            facts.append(h)
            asked = []
    q = np.zeros(H)
    for word in asked:
        q = gru("words", p["embedding"][word], q)
    a, m, gates = p["attention"], q, []
    for _ in range(episodes):
        row = []
        for c in facts:
            z = [*c, *m, *q, *(c * q), *(c * m), *abs(c - q), *abs(c - m), c @ a["w_b"] @ q, c @ a["w_b"] @ m]
            row.append(np.tanh(np.array(z) @ a["w_1"] + a["b_1"]) @ a["w_2"])
        if form == "sigmoid":
            row = [oracles.sigmoid(g + a["b_2"]) for g in row]
        else:
            row = [np.exp(g) / sum(np.exp(other) for other in row) for g in row]
        e = np.zeros(H)
        for c, g in zip(facts, row, strict=True):
            e = g * gru("episode", c, e) + (1 - g) * e
        m = gru("memory", e, m)
        gates.append(row)
    return gru("answer", q, m) @ p["head"]["w"] + p["head"]["b"], gates


def doubled(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
@pytest.mark.parametrize("episodes", [1, 3])
def test_equals_the_paper(episodes, form):
    model = make(episodes=episodes, episode_gates=form)
    params = drawn(model)
    out = run(model, params)
    assert out.logits.shape == (T, B, O) and out.hidden.shape == (T, B, H) and out.carry == ()
    attention = out.traces[1]["attention"]
    assert attention.shape == (T, B, episodes)
    for n, story in enumerate(STORIES):
        logits, gates = by_the_paper(doubled(params), story, episodes, form)
        for t in range(T):  # the same answer at every step
            np.testing.assert_allclose(out.logits[t, n], logits, rtol=1e-4, atol=1e-5)
        end = story.index(MARK)
        at = [t for t in range(end) if story[t] == PERIOD]
        np.testing.assert_allclose(attention[jnp.array(at, int), n].T, np.array(gates), rtol=1e-4, atol=1e-5)
        assert np.count_nonzero(attention[:, n]) == episodes * len(at)


def test_what_follows_the_question_changes_nothing():
    model = PLAIN
    params = drawn(model)
    plain = run(model, params).logits[0]
    other = TOKENS.at[7:, 1].set(jnp.array([3, PERIOD, 1, PERIOD, MARK])).at[2:, 2].set(PERIOD)
    np.testing.assert_array_equal(run(model, params, other).logits[0], plain)
    longer = jnp.concatenate([TOKENS, jnp.full((4, B), PAD)])
    np.testing.assert_allclose(run(model, params, longer).logits[0], plain, rtol=1e-6)
    lengths = jnp.array([12, 7, 2])
    np.testing.assert_array_equal(run(model, params, lengths=lengths).logits[0], plain)


def test_the_answer_depends_on_each_fact_on_their_order_and_on_the_question():
    model = PLAIN
    params = drawn(model)
    plain = run(model, params).logits[0, 0]
    for t in (0, 1, 3, 4, 5, 7, 9, 10):  # a word of each fact, and of the question
        changed = run(model, params, TOKENS.at[t, 0].set(TOKENS[t, 0] % 6 + 1)).logits[0, 0]
        assert np.abs(changed - plain).max() > 1e-5, t
    swapped = TOKENS.at[:7, 0].set(jnp.array([3, 4, 5, PERIOD, 1, 2, PERIOD]))
    assert np.abs(run(model, params, swapped).logits[0, 0] - plain).max() > 1e-5


def test_sequences_do_not_meet():
    model = PLAIN
    params = drawn(model)
    together = run(model, params).logits
    for n in range(B):
        alone = run(model, params, TOKENS[:, n : n + 1]).logits
        np.testing.assert_allclose(alone[:, 0], together[:, n], rtol=1e-5, atol=1e-6)


def test_the_question_is_read_from_a_state_of_zeros():
    """With all gates shut the story does not matter."""
    model = SIGMOID
    params = drawn(model)
    params["attention"] |= {"b_2": jnp.array(-1e4)}
    other = TOKENS.at[0, 0].set(6)
    np.testing.assert_array_equal(run(model, params, other).logits, run(model, params).logits)


def test_softmax_gates_share_one_attention_and_read_no_story_where_there_is_none():
    attention = run(PLAIN, drawn(PLAIN)).traces[1]["attention"].sum(0)
    np.testing.assert_allclose(attention, [[1, 1, 1], [1, 1, 1], [0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("model", [PLAIN, SIGMOID], ids=["softmax", "sigmoid"])
def test_every_parameter_learns(model):
    params = drawn(model)

    def loss(params):
        return jnp.sum(jax.nn.log_softmax(run(model, params).logits)[0, :, 1])

    gradient = jax.jit(jax.grad(loss))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all() and np.any(leaf), path


def test_a_key_turns_dropout_on():
    for name in ("embedding", "input", "output"):
        model = make(dropout={name: 0.5})
        params = drawn(model)
        plain = run(PLAIN, params).logits
        np.testing.assert_array_equal(run(model, params).logits, plain)
        first, again, other = (run(model, params, key=jax.random.key(n)).logits for n in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 1e-3 and np.abs(first - plain).max() > 1e-3


def test_bfloat16_keeps_parameters_and_logits_in_float32():
    model = make(dtype="bfloat16")
    params = drawn(model)
    out = run(model, params)
    assert out.logits.dtype == jnp.float32 and out.hidden.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(model.init(jax.random.key(0)))} == {jnp.dtype("float32")}
    exact = run(PLAIN, params).logits
    error = np.abs(out.logits - exact).max()
    assert 0 < error < 0.1 * np.abs(exact).max()  # some 40 roundings of 2^-9 in a row


def test_around_reaches_into_the_words():
    model = PLAIN
    params = drawn(model)
    seen = []

    def around(layer, cell):
        seen.append(layer)
        return cell._replace(update=lambda p, c, z, r: cell.update(p, c, 0 * z, r))

    changed = run(model, params, around=around)
    assert seen == [0]
    assert np.abs(changed.logits - run(model, params).logits).max() > 1e-4


# ---------------------------------------------------------------- the table of models


def test_models_by_name():
    facts = dict(sentence_end=PERIOD, question_end=MARK, other="text")
    model = models.make_model("dynamic_memory", facts=facts, episodes=3, init="uniform(1)", **SIZES)
    params = drawn(PLAIN)
    np.testing.assert_array_equal(run(model, params).logits, run(PLAIN, params).logits)
    recurrent = models.make_model(facts=facts, episodes=3, **SIZES)
    plain = models.recurrent(**SIZES)
    params = plain.init(jax.random.key(0))
    assert jax.tree.structure(recurrent.init(jax.random.key(0))) == jax.tree.structure(params)
    np.testing.assert_array_equal(run(recurrent, params).logits, run(plain, params).logits)


def test_a_task_without_questions_is_refused():
    with pytest.raises(UserError, match="'dynamic_memory' needs a task that tells its sentence_end"):
        models.make_model("dynamic_memory", **SIZES)
    with pytest.raises(UserError, match="unknown model 'recurent': did you mean 'recurrent'"):
        models.make_model("recurent", **SIZES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(hidden=(4, 4)), "dynamic_memory has one width"),
        (dict(vocab=None), "reads tokens"),
        (dict(vocab=None, input_dim=3), "reads tokens"),
        (dict(tied=True), "set it to False"),
        (dict(episodes=0), "positive whole number of passes"),
        (dict(episode_gates="sigmoyd"), "did you mean .sigmoid."),
        (dict(question_end=V), "none of the 9 tokens"),
        (dict(dropout={"zoneout_cell": 0.1}), "dropout.zoneout_cell=0.1"),
        (dict(dropout={"imput": 0.1}), "did you mean 'input'"),
        (dict(init="normal"), "uniform"),
        (dict(dtype="float16"), "allowed: float32, bfloat16"),
        (dict(cell={"init": "lecum"}), "did you mean 'lecun'"),
        (dict(backend="scam"), "did you mean 'scan'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(changes, said):
    with pytest.raises(UserError, match=said) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [dict(resets=jnp.zeros((T, B), bool)), dict(tokens=jnp.zeros((T, B, E)))])
def test_what_is_no_story_is_refused(given):
    model = PLAIN
    with pytest.raises(UserError, match="one story and its question"):
        run(model, drawn(model), **given)
