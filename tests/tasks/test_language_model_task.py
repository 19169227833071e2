import itertools
import json
import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.corpora import Corpus, Vocabulary
from lstm_jax.support.errors import UserError
from lstm_jax.tasks import make_task
from lstm_jax.tasks.base import Batch
from lstm_jax.tasks.language_model import from_corpus
from lstm_jax.tasks.scores import classes
from lstm_jax.tasks.windows import cut_streams, random_plan, static_lengths

PTB = Path(os.environ.get("LSTM_JAX_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
EOS = 2
V = 7


def corpus(train=101, valid=53, test=47, level="word"):
    rng = np.random.default_rng(0)
    words = ["a", "b", "<eos>" if level == "word" else "\n", "c", "d", "e", "f"]
    vocabulary = Vocabulary(tuple(words), "whitespace" if level == "word" else "characters")
    sizes = {"train": train, "valid": valid, "test": test}
    tokens = {split: rng.integers(0, V, n).astype(np.int32) for split, n in sizes.items()}
    tokens["train"][:V] = np.arange(V)  # every word has been seen in training
    return Corpus("synthetic", vocabulary, tokens, {"corpus": "synthetic"})


def make(text=None, **changes):
    section = dict(batch=4, window=7, epochs=2, seed=3)
    return from_corpus(text or corpus(), **{**section, **changes})


def read(task, split, first=0, last=None):
    """The windows of steps [first, last), as NumPy arrays; compiled once a bucket."""
    batch_at = jax.jit(task.batch, static_argnums=(1, 3))
    buckets = np.asarray(task.data[split]["bucket"])
    last = task.steps[split] if last is None else last
    for step in range(first, last):
        bucket = int(buckets[step % len(buckets)])
        batch = jax.tree.map(np.asarray, batch_at(task.data, split, step, bucket))
        assert batch.inputs.shape == batch.targets.shape
        assert batch.inputs.shape == (task.buckets[split][bucket], task.batch_sizes[split])
        yield batch


def join(batches, batch_size):
    """Each stream's (input, target, scored), by loops; steps past a window's length are left out."""
    rows = [[] for _ in range(batch_size)]
    for batch in batches:
        steps, width = batch.inputs.shape
        for b, t in itertools.product(range(width), range(steps)):
            scored = True if batch.weights is None else bool(batch.weights[t, b])
            if batch.lengths is not None and t >= batch.lengths[b]:
                assert not scored
                continue
            rows[b].append((int(batch.inputs[t, b]), int(batch.targets[t, b]), scored))
    return rows


def check_text(rows, text, warmup):
    """Every token is scored exactly once, in order, its input being the token before it."""
    scored = [pair[:2] for row in rows for pair in row if pair[2]]
    assert [target for _, target in scored] == text.tolist()
    assert [token for token, _ in scored] == [EOS, *text[:-1].tolist()]
    place = 0
    for b, row in enumerate(rows):
        flags = [pair[2] for pair in row]
        context = flags.index(True)
        assert context == (warmup if b else 0)
        # What stands before the first scored target is the text right before it.
        assert [target for _, target, _ in row[:context]] == text[place - context : place].tolist()
        count = sum(flags)
        assert all(flags[context : context + count])
        assert len(row) - context - count <= 1  # padding, at most one position of a row
        place += count
    lengths = [len(row) for row in rows]
    assert max(lengths) - min(lengths) <= 1


TRAINING = [
    dict(batch=batch, window=window, window_jitter=jitter, window_half=half)
    for batch in (1, 4, 5)
    for window, jitter, half in [(7, 0.0, 0.0), (5, 0.0, 0.0), (200, 0.0, 0.0), (8, 2.0, 0.2), (10, 0.0, 0.5)]
]


@pytest.mark.parametrize("section", TRAINING)
@pytest.mark.parametrize("size", [100, 101])
def test_every_training_token_is_a_target_once_an_epoch(section, size):
    task = make(corpus(train=size), **section)
    first = 0
    for last in task.epoch_ends:
        batches = list(read(task, "train", first, int(last)))
        assert [bool(batch.fresh) for batch in batches] == [True] + [False] * (len(batches) - 1)
        check_text(join(batches, section["batch"]), task.corpus.tokens["train"], warmup=0)
        first = int(last)


@pytest.mark.parametrize("window", [1, 5, 8, 512])
@pytest.mark.parametrize("batch, warmup", [(1, 0), (1, 6), (3, 0), (3, 6), (4, 1), (7, 5)])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_every_evaluation_token_is_scored_once(split, batch, warmup, window):
    task = make(eval_batch=batch, eval_window=window, eval_warmup=warmup)
    batches = list(read(task, split))
    assert [bool(b.fresh) for b in batches] == [True] + [False] * (len(batches) - 1)
    check_text(join(batches, batch), task.corpus.tokens[split], warmup)


@pytest.mark.parametrize("batch", range(1, 12))
@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_streams_fit_every_size(batch, warmup):
    for size in range(1, 60):
        text = np.arange(100, 100 + size, dtype=np.int32)
        try:
            streams = cut_streams(text, EOS, batch, warmup)
        except UserError:
            # Refused only where some stream would have nothing to score.
            assert size + (batch - 1) * warmup <= batch * (warmup + 1)
            assert size < batch * (warmup + 1)
            continue
        spans = zip(streams.tokens, streams.first, streams.last, strict=True)
        scored = [token for row, first, last in spans for token in row[first + 1 : last + 1]]
        assert scored == text.tolist()
        assert (streams.last > streams.first).all()


def test_one_stream_of_evaluation_has_no_mask():
    task = make(eval_window=8)
    for batch in read(task, "valid"):
        assert batch.weights is None and batch.lengths is None and batch.resets is None


def test_common_windows_of_training_have_no_mask():
    task = make(window=5)  # 101 tokens: rows of 26 and 25, windows of 5, 5, 5, 5, 5, 1
    masks = [batch.weights for batch in read(task, "train", 0, int(task.epoch_ends[0]))]
    assert [mask is None for mask in masks] == [True] * 5 + [False]
    np.testing.assert_array_equal(masks[-1], [[1, 0, 0, 0]])
    assert task.buckets["train"] == (5, 1)
    # Rows of 25 and 24: no shorter window, but the last is the only one that can hold padding.
    task = make(corpus(train=99), window=5)
    masks = [batch.weights for batch in read(task, "train", 0, int(task.epoch_ends[0]))]
    assert [mask is None for mask in masks] == [True] * 4 + [False]
    assert task.buckets["train"] == (5, 5)


@pytest.mark.parametrize("section", TRAINING)
def test_more_epochs_begin_with_the_fewer(section):
    few, many = make(**section, epochs=2), make(**section, epochs=5)
    assert many.epoch_ends.shape == (5,) and (np.diff(many.epoch_ends, prepend=0) > 0).all()
    np.testing.assert_array_equal(few.epoch_ends, many.epoch_ends[:2])
    assert few.buckets == many.buckets
    steps = int(few.epoch_ends[-1])
    for one, other in zip(read(few, "train", 0, steps), read(many, "train", 0, steps), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_fixed_windows_repeat_each_epoch():
    task = make(epochs=3)
    steps = int(task.epoch_ends[0])
    assert task.epoch_ends.tolist() == [steps, 2 * steps, 3 * steps]
    for one, other in zip(read(task, "train", 0, steps), read(task, "train", steps, 2 * steps), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_random_windows_depend_on_seed_and_epoch_only():
    random = dict(window=10, window_jitter=3.0, window_half=0.3)

    def lengths(size, seed, epochs=2):
        task = make(corpus(train=size), **random, seed=seed, epochs=epochs)
        data, cut = task.data["train"], int(task.epoch_ends[0])
        return np.array(data["length"][:cut]), np.array(data["length"][cut:])

    first, second = lengths(400, seed=0)
    np.testing.assert_array_equal(first, lengths(400, seed=0)[0])
    assert first.tolist() != lengths(400, seed=1)[0].tolist()
    assert first.tolist() != second[: len(first)].tolist()
    longer, _ = lengths(800, seed=0)  # the k-th length is the same for a text of any size
    np.testing.assert_array_equal(first[:-1], longer[: len(first) - 1])
    np.testing.assert_array_equal(lengths(400, seed=-1)[0], lengths(400, seed=-1)[0])


def simulate(window, jitter, half, draws=200_000):
    """Lengths as AWD-LSTM draws them, by another generator."""
    rng = np.random.default_rng(1)
    base = np.where(rng.random(draws) < half, window / 2, window)
    return np.maximum(5, rng.normal(base, jitter).astype(int))


@pytest.mark.parametrize(
    "window, jitter, half", [(70, 5.0, 0.05), (20, 3.0, 0.5), (35, 0.0, 0.2), (6, 4.0, 0.0)]
)
def test_random_lengths_have_the_distribution_of_awd_lstm(window, jitter, half):
    streams = cut_streams(np.zeros(400_000, np.int32), EOS, 1)
    _, plan = random_plan(streams, window, jitter, half, epochs=3, seed=0)
    drawn = np.delete(plan.length, plan.ends - 1)  # the last window of an epoch is what is left
    expected = np.minimum(simulate(window, jitter, half), plan.lengths[-1])
    assert drawn.min() >= 5 and drawn.max() <= plan.lengths[-1]
    # Kolmogorov-Smirnov distance at a significance of 1e-4 is 2.2 / sqrt(n).
    grid = np.arange(plan.lengths[-1] + 1)
    distance = np.abs(
        np.searchsorted(np.sort(drawn), grid, "right") / len(drawn)
        - np.searchsorted(np.sort(expected), grid, "right") / len(expected)
    ).max()
    assert distance < 2.2 / math.sqrt(len(drawn))


@pytest.mark.parametrize("window, jitter, half", [(20, 3.0, 0.5), (12, 1.5, 0.05), (16, 2.0, 0.0)])
def test_static_lengths_waste_the_least(window, jitter, half):
    lengths = static_lengths(window, jitter, half)
    assert len(lengths) == 3 and list(lengths) == sorted(lengths)
    draws = np.minimum(simulate(window, jitter, half), lengths[-1])
    assert (simulate(window, jitter, half) > lengths[-1]).mean() < 0.002

    def padded(choice):
        return np.array(choice)[np.searchsorted(choice, draws)].mean()

    best = min(padded((a, b, lengths[-1])) for a, b in itertools.combinations(range(4, lengths[-1]), 2))
    assert padded(lengths) <= best * 1.003  # the simulation's own error


def test_static_lengths_without_jitter_are_the_lengths():
    assert static_lengths(35, 0.0, 0.3) == (17, 35)
    assert static_lengths(35, 0.0, 1.0) == (17,)
    assert static_lengths(8, 0.0, 0.5) == (5, 8)  # none is shorter than 5


def test_a_window_has_the_smallest_bucket_that_holds_it():
    task = make(corpus(train=2000), window=10, window_jitter=3.0, window_half=0.2)
    lengths = np.array(task.data["train"]["length"])
    buckets = np.array(task.buckets["train"])
    index = np.array(task.data["train"]["bucket"])
    assert (lengths <= buckets[index]).all()
    assert ((index == 0) | (lengths > buckets[index - 1])).all()
    assert set(index.tolist()) == {0, 1, 2}


def test_random_windows_of_other_seeds_share_a_program():
    one, other = (make(corpus(train=2000), window=10, window_jitter=3.0, seed=seed) for seed in (3, 4))
    assert one.epoch_ends[-1] != other.epoch_ends[-1], "draw others: these have as many windows"
    assert jax.tree.map(jnp.shape, one.data) == jax.tree.map(jnp.shape, other.data)
    assert one.buckets == other.buckets


@pytest.mark.parametrize("section", [dict(), dict(window=10, window_jitter=3.0)])
def test_a_batch_compiles_once_a_bucket(section):
    task = make(**section)
    traced = []

    @jax.jit
    def one(data, step):
        traced.append(0)
        batches = [task.batch(data, "train", step, bucket) for bucket in range(len(task.buckets["train"]))]
        return task.bucket(data, "train", step), batches

    for step, plain in enumerate(read(task, "train", 0, int(task.epoch_ends[-1]))):
        bucket, batches = one(task.data, jnp.int32(step))
        jax.tree.map(np.testing.assert_array_equal, batches[int(bucket)], plain)
    assert len(traced) == 1


def test_rows_of_the_data_are_rows_of_the_batch():
    """A device that holds some streams reads its part of the window: what sharding by batch_axes needs."""
    task = make(window=8, window_jitter=2.0)
    part = {
        name: leaf[1:3] if task.batch_axes["train"][name] == 0 else leaf
        for name, leaf in task.data["train"].items()
    }
    batch_at = jax.jit(task.batch, static_argnums=(1, 3))
    for step in range(int(task.epoch_ends[0])):
        bucket = int(task.bucket(task.data, "train", step))
        whole = batch_at(task.data, "train", step, bucket)
        own = batch_at({"train": part}, "train", step, bucket)
        np.testing.assert_array_equal(own.targets, whole.targets[:, 1:3])
        np.testing.assert_array_equal(own.weights, whole.weights[:, 1:3])
        np.testing.assert_array_equal(own.lengths, whole.lengths[1:3])


def total(task, split, table):
    """Summed metrics of the predictor whose logits are a table [V, V] looked up by the input."""
    sums = {}
    score = jax.jit(classes.metrics)
    for batch in read(task, split):
        for name, (value, count) in score(table[batch.inputs], batch).items():
            old = sums.get(name, (0.0, 0.0))
            sums[name] = (old[0] + float(value), old[1] + float(count))
    return sums


@pytest.mark.parametrize("window", [5, 512])
@pytest.mark.parametrize("batch, warmup", [(1, 0), (3, 0), (3, 6)])
def test_figures_depend_on_neither_window_nor_batch(batch, warmup, window):
    """A predictor without memory of its own has the nats of a plain loop over the text, however it is cut."""
    task = make(eval_batch=batch, eval_window=window, eval_warmup=warmup)
    text = task.corpus.tokens["test"].tolist()
    table = np.random.default_rng(1).normal(size=(V, V)).astype(np.float32)
    nats = right = 0.0
    for before, token in zip([EOS, *text[:-1]], text, strict=True):
        row = table[before].astype(np.float64)
        nats += math.log(sum(math.exp(x) for x in row)) - row[token]
        right += max(range(V), key=lambda w: row[w]) == token
    sums = total(task, "test", table)
    # 47 float32 terms of size 3: rounding of 1e-6 relative
    np.testing.assert_allclose(sums["nats"][0], nats, rtol=2e-6)
    assert sums["accuracy"] == (right, len(text)) and sums["nats"][1] == len(text)


def test_what_is_not_scored_may_be_anything():
    task = make(eval_batch=3, eval_warmup=6)
    batch = next(read(task, "test"))
    logits = np.random.default_rng(0).normal(size=(*batch.inputs.shape, V)).astype(np.float32)
    good = classes.metrics(jnp.asarray(logits), batch)
    logits[batch.weights == 0] = np.nan
    jax.tree.map(np.testing.assert_array_equal, good, classes.metrics(jnp.asarray(logits), batch))
    assert np.isfinite(good["nats"][0])


def test_loss_and_its_gradient():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 2, V)) * 30  # far apart: exp(90) alone would overflow float32
    targets = rng.integers(0, V, (3, 2))
    batch = Batch(targets, targets)
    shifted = logits - logits.max(-1, keepdims=True)
    softmax = np.exp(shifted) / np.exp(shifted).sum(-1, keepdims=True)
    picked = np.take_along_axis(shifted, targets[..., None], -1)[..., 0]
    expected = np.log(np.exp(shifted).sum(-1)) - picked
    values = classes.loss(jnp.asarray(logits, jnp.float32), batch)
    assert values.shape == (3, 2) and values.dtype == jnp.float32
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)  # logits of 90 have an ulp of 8e-6
    gradient = jax.grad(lambda x: classes.loss(x, batch).sum())(jnp.asarray(logits, jnp.float32))
    np.testing.assert_allclose(gradient, softmax - np.eye(V)[targets], atol=1e-5)
    assert classes.loss(jnp.asarray(logits, jnp.bfloat16), batch).dtype == jnp.float32
    huge = jnp.full((1, 1, V), 1e30).at[0, 0, 1].set(-1e30)
    assert np.isfinite(classes.loss(huge, Batch(np.zeros((1, 1), int), np.zeros((1, 1), int)))).all()


@pytest.mark.parametrize("level, bits", [("word", "bits_per_token"), ("char", "bits_per_character")])
def test_report(level, bits):
    report = make(corpus(level=level)).report
    figures = report({"nats": math.log(8), "accuracy": 0.25})
    assert figures == {
        "perplexity": pytest.approx(8),
        "nats": math.log(8),
        "accuracy": 0.25,
        bits: pytest.approx(3),
    }
    assert report({"nats": 1e4})["perplexity"] == math.inf
    assert math.isnan(report({"nats": math.nan})["perplexity"])


def test_chance_is_the_entropy_of_the_test_split():
    task = make()
    tokens = task.corpus.tokens["test"].tolist()
    share = [tokens.count(w) / len(tokens) for w in range(V)]
    assert task.chance["nats"] == pytest.approx(-sum(p * math.log(p) for p in share if p))
    assert task.chance["accuracy"] == pytest.approx(max(share))
    assert task.chance["nats"] < math.log(V)


def test_facts_tell_of_the_data():
    facts = make().facts
    assert facts["corpus"] == "synthetic" and facts["uniform_perplexity"] == V
    assert facts["test_unigram_perplexity"] > 1 and facts["first_epoch_steps"] == 4
    json.dumps(facts)


@pytest.mark.parametrize(
    "section, message",
    [
        (dict(batch=0), "batch=0 is not possible: it must be 1 or more"),
        (dict(window=0), "window=0 is not possible"),
        (dict(window_jitter=-1.0), "window_jitter=-1.0 is not possible: it must be 0 or more"),
        (dict(window_jitter=math.nan), "window_jitter=nan is not possible"),
        (dict(window_half=1.5), "window_half=1.5 is not a probability"),
        (dict(window=4, window_jitter=1.0), "window=4 is too short for random windows"),
        (dict(window=4, window_half=0.5), "window=4 is too short for random windows"),
        (dict(eval_batch=0), "eval_batch=0 is not possible"),
        (dict(eval_window=0), "eval_window=0 is not possible"),
        (dict(eval_warmup=-1), "eval_warmup=-1 is not possible"),
        (dict(epochs=0), "epochs=0 is not possible"),
        (dict(batch=102), "the train split has 101 tokens, too few for 102 parallel streams: use a smaller"),
        (
            dict(eval_batch=5, eval_warmup=60),
            "valid split has 53 tokens, too few for 5 .*60 tokens of warm-up",
        ),
    ],
)
def test_impossible_arguments_are_named(section, message):
    with pytest.raises(UserError, match=message) as error:
        make(**section)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not (PTB / "ptb.train.txt").is_file(), reason="needs Penn Treebank")
def test_penn_treebank(monkeypatch, tmp_path):
    """Zaremba's setting: 929,589 tokens in 20 streams of 46,480 (11 of them one shorter), windows of 35."""
    monkeypatch.setenv("LSTM_JAX_CACHE", str(tmp_path))
    section = dict(
        name="language_model", corpus="ptb", data_dir=str(PTB), batch=20, window=35, epochs=2, seed=0
    )
    task = make_task(**section)
    assert task.vocab == task.outputs == 10000
    assert task.epoch_ends.tolist() == [1328, 2656] and task.buckets["train"] == (35, 35)
    assert task.steps == {"valid": math.ceil(73760 / 512), "test": math.ceil(82430 / 512)}
    assert np.asarray(task.data["train"]["last"]).sum() == 929589
    assert math.exp(task.chance["nats"]) == pytest.approx(561.35, abs=0.01)
    constant = jnp.log(jnp.bincount(task.corpus.tokens["train"], length=10000) / 929589)
    sums = np.zeros(2)
    score = jax.jit(classes.metrics)
    for batch in read(task, "test", 0, 3):
        sums += [
            float(x) for x in score(jnp.broadcast_to(constant, (*batch.inputs.shape, 10000)), batch)["nats"]
        ]
    shares = np.bincount(task.corpus.tokens["train"], minlength=10000) / 929589
    expected = -np.log(shares[task.corpus.tokens["test"][: 3 * 512]])
    np.testing.assert_allclose(sums, [expected.sum(), 3 * 512], rtol=1e-5)
