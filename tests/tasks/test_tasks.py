"""Properties of every task in TASKS; those of generated tasks alone are in test_generated_tasks.py.

A new generated task needs a line in tests/solvers/, any other a line in `small`; the rest checks itself.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.support.errors import UserError
from lstm_jax.tasks import TASKS, Task, figure_names, make_task, scores
from lstm_jax.tasks.pixels import from_images
from tests.solvers import SOLVERS
from tests.tiny_images import tiny_images

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def text_directory(tmp_path_factory):
    """Random words: no two splits share eight tokens in a row by chance."""
    directory = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(12)])
    for split, lines in {"train": 40, "valid": 9, "test": 7}.items():
        text = "".join(" ".join(rng.choice(words, rng.integers(3, 9))) + "\n" for _ in range(lines))
        (directory / f"{split}.txt").write_text(text)
    for split, count in {"train": 10, "valid": 4, "test": 6}.items():
        rows = [(" ".join(rng.choice(words, rng.integers(9, 13))), f"k{i % 3}") for i in range(count)]
        (directory / f"{split}.csv").write_text("text,label\n" + "".join(f"{t},{k}\n" for t, k in rows))
    return str(directory)


@pytest.fixture(scope="module")
def small(text_directory):
    """Arguments that make each task tiny: several cases a task, by name."""
    language_model = dict(corpus="text", data_dir=text_directory, batch=3, window=9, eval_window=16)
    return {
        "language_model": {
            "": language_model,
            "random windows": language_model | dict(window_jitter=2.0, window_half=0.2),
            "evaluation streams": language_model | dict(eval_batch=2, eval_warmup=4, eval_window=8),
        },
        "continual_reber": {"": dict(batch=3, window=10, epoch_steps=3, eval_batch=2, eval_steps=2)},
        "pixels": {"": dict(batch=5), "permuted": dict(batch=5, permuted=True)},
        "text_classification": {
            "": dict(source="files", data_dir=text_directory, batch=4, eval_batch=2, lengths=2)
        },
    }


CORPUS = [
    *(("language_model", case) for case in ("", "random windows", "evaluation streams")),
    ("text_classification", ""),
]
"""Cases of tasks whose test split is all there is: chance is what is measured on just this."""
OTHERS = [("continual_reber", ""), ("pixels", ""), ("pixels", "permuted")]
"""Cases of tasks that test_tasks_structured.py looks into."""
GENERATED = [(name, 0) for name in SOLVERS]
"""Tasks without, each in its plain case."""


def name_of(case):
    return " ".join(str(part) for part in case if part != "")


# Of the whole module, so that pytest does all of a case before the next, and a task is compiled once.
@pytest.fixture(params=CORPUS + OTHERS + GENERATED, ids=name_of, scope="module")
def make(request, small):
    """(**changes) -> the task, one object for the same changes; `make.__wrapped__` builds another."""
    name, case = request.param
    if name in SOLVERS:
        sizes = dict(batch=4, epoch_steps=2, eval_batch=3, eval_steps=2, epochs=2, seed=0)
        return functools.cache(
            lambda **changes: make_task(name, **(sizes | SOLVERS[name].cases[case] | changes))
        )
    return corpus_case(small, name, case)


@pytest.fixture(params=CORPUS, ids=name_of, scope="module")
def make_corpus(request, small):
    return corpus_case(small, *request.param)


def corpus_case(small, name, case):
    @functools.cache
    def build(**changes) -> Task:
        arguments = {"epochs": 2, "seed": 0} | small[name][case] | changes
        if name == "pixels":  # its own images come with packages that need not be there
            return from_images(tiny_images(), **arguments)
        return make_task(name, **arguments)

    return build


def steps(task, split):
    return int(task.epoch_ends[0]) if split == "train" else task.steps[split]


@functools.lru_cache(16)
def compiled(function, *static):
    """The same for the same function of a task."""
    return jax.jit(function, static_argnums=static)


def batches(task, split):
    """One pass, as NumPy arrays; compiled, because small eager operations compile one by one."""
    batch_at, bucket_at = compiled(task.batch, 1, 3), compiled(task.bucket, 1)
    for step in range(steps(task, split)):
        batch = batch_at(task.data, split, step, int(bucket_at(task.data, split, step)))
        yield jax.tree.map(np.asarray, batch)


def measured(task, split, predict):
    """Mean metrics of `predict(batch) -> logits` over a split."""
    sums = {}
    score = compiled(task.metrics)
    for batch in batches(task, split):
        for name, pair in score(predict(batch), batch).items():
            sums[name] = sums.get(name, np.zeros(2)) + np.asarray(pair, np.float64)
    return {name: value / count for name, (value, count) in sums.items()}


def scored_targets(task, split):
    """Targets with a weight, [N] or [N, O]."""
    return np.concatenate(
        [
            b.targets.reshape(-1, *b.targets.shape[2:]) if b.weights is None else b.targets[b.weights > 0]
            for b in batches(task, split)
        ]
    )


def test_every_task_is_tested(small):
    assert set(small) | set(SOLVERS) == set(TASKS)
    assert set(CORPUS + OTHERS) == {(name, case) for name, cases in small.items() for case in cases}


def test_batches_are_a_pure_function_of_seed_split_and_step(make):
    one, other = make(), make.__wrapped__()
    for split in SPLITS:
        first = list(batches(one, split))
        for left, right in zip(reversed(first), reversed(list(batches(other, split))), strict=True):
            jax.tree.map(np.testing.assert_array_equal, left, right)


def test_shapes_and_types(make):
    task = make()
    for split in SPLITS:
        assert len(task.buckets[split]) >= 1
        assert steps(task, split) >= 1
        for step, batch in enumerate(batches(task, split)):
            bucket = task.bucket(task.data, split, step)
            assert bucket.dtype == jnp.int32 and bucket.shape == ()
            shape = (task.buckets[split][int(bucket)], task.batch_sizes[split])
            assert batch.inputs.shape[:2] == batch.targets.shape[:2] == shape
            if task.vocab is not None:
                assert batch.inputs.dtype == jnp.int32 and int(batch.inputs.max()) < task.vocab
                assert int(batch.inputs.min()) >= 0
            else:
                assert batch.inputs.shape[2:] == (task.input_dim,)
            if batch.weights is not None:
                assert batch.weights.shape == shape and batch.weights.dtype == jnp.float32
            if batch.lengths is not None:
                assert batch.lengths.shape == (shape[1],) and batch.lengths.dtype == jnp.int32
            if batch.resets is not None:
                assert batch.resets.shape == shape and batch.resets.dtype == bool
            assert jnp.shape(batch.fresh) == ()
        assert bool(next(batches(task, split)).fresh)  # no state leaks in from another pass


def test_a_traced_step_gives_the_same_batch_and_one_compile(make):
    task = make()
    for split in SPLITS:
        for bucket in range(len(task.buckets[split])):
            traces = []

            def batch_at(data, step, split=split, bucket=bucket, traces=traces):
                traces.append(0)
                return task.batch(data, split, step, bucket)

            jitted = jax.jit(batch_at)
            for step in range(steps(task, split)):
                if int(task.bucket(task.data, split, step)) == bucket:
                    plain = task.batch(task.data, split, step, bucket)
                    jax.tree.map(np.testing.assert_array_equal, jitted(task.data, jnp.int32(step)), plain)
            assert len(traces) <= 1


def test_splits_are_disjoint(make_corpus):
    """No sequence of one split occurs in another."""
    task = make_corpus()
    seen = {}
    for split in SPLITS:
        seen[split] = set()
        for batch in batches(task, split):
            pair = np.concatenate(
                [
                    np.moveaxis(np.asarray(x), 1, 0).reshape(x.shape[1], -1)[:, :9]
                    for x in (batch.inputs, batch.targets)
                ],
                axis=1,
            )
            if batch.inputs.shape[0] >= 8:  # a tail of a token or two proves nothing
                seen[split] |= {row.tobytes() for row in pair}
        assert seen[split]
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert not seen[one] & seen[other]


def test_epochs_end_in_order_and_more_of_them_begin_with_the_fewer(make):
    few, many = make(epochs=2), make(epochs=4)
    assert few.epoch_ends.shape == (2,) and many.epoch_ends.shape == (4,)
    assert (np.diff(many.epoch_ends, prepend=0) > 0).all()
    np.testing.assert_array_equal(few.epoch_ends, many.epoch_ends[:2])


def test_batch_axes_fit_the_data(make):
    task = make()
    jax.tree.map(lambda leaf, axis: None, task.data, task.batch_axes)  # same structure
    assert any(axis == 0 for axis in jax.tree.leaves(task.batch_axes["train"]))
    for name, leaf in task.data["train"].items():
        if task.batch_axes["train"][name] == 0:
            assert leaf.shape[0] == task.batch_sizes["train"]
    for split in ("valid", "test"):
        assert not jax.tree.leaves(task.batch_axes[split])  # only training is spread over devices
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(task.data))


def test_chance_is_the_loss_of_the_best_constant_predictor(make_corpus):
    task = make_corpus()
    targets = scored_targets(task, "test")
    if np.issubdtype(targets.dtype, np.integer):
        share = np.bincount(targets.ravel(), minlength=task.outputs) / targets.size
        constant = np.log(np.maximum(share, 1e-30))
    else:
        constant = targets.mean(0)
    constant = constant.astype(np.float32)
    means = measured(task, "test", lambda b: np.broadcast_to(constant, (*b.inputs.shape[:2], task.outputs)))
    assert next(iter(task.chance)) in means
    figures = task.report(means)
    for name, level in task.chance.items():
        np.testing.assert_allclose(figures[name], level, rtol=1e-5, err_msg=name)
    # The best: any small change of the constant makes the first metric worse.
    for direction in np.eye(task.outputs)[:3]:
        worse = constant + 0.3 * direction.astype(np.float32)
        moved = measured(
            task, "test", lambda b, w=worse: np.broadcast_to(w, (*b.inputs.shape[:2], task.outputs))
        )
        name = next(iter(task.chance))
        assert moved[name] >= figures[name]


def perfect(task, batch):
    if np.issubdtype(batch.targets.dtype, np.integer):
        return 100 * np.eye(task.outputs, dtype=np.float32)[batch.targets]
    return batch.targets


def test_a_perfect_predictor_scores_perfectly(make_corpus):
    task = make_corpus()
    for split in ("valid", "test"):
        figures = measured(task, split, lambda batch: perfect(task, batch))
        assert figures[next(iter(task.chance))] < 1e-6
        if "accuracy" in figures:
            assert figures["accuracy"] == 1.0


def test_it_is_known_which_figures_are_best_high(make):
    """By a perfect predictor: beside chance, or, where chance is not told, beside a predictor of nothing."""
    task = make()
    known = SOLVERS[task.name].perfect if task.name in SOLVERS else None
    best = task.report(measured(task, "test", known or functools.partial(perfect, task)))
    blank = measured(task, "test", lambda b: np.zeros((*b.inputs.shape[:2], task.outputs), np.float32))
    worse = task.report(blank) | task.chance
    assert set(best) == set(worse) == set(figure_names(task))
    for name, value in best.items():
        assert value != worse[name], name
        assert scores.best_high(name) == (value > worse[name]), name


def test_the_loss_trained_on_is_the_loss_measured(make):
    task = make()
    rng = np.random.default_rng(0)
    score, loss = compiled(task.metrics), compiled(task.loss)
    for batch in batches(task, "train"):
        logits = rng.normal(size=(*batch.inputs.shape[:2], task.outputs)).astype(np.float32)
        values = np.asarray(loss(logits, batch))
        assert values.shape == batch.inputs.shape[:2]
        weights = np.ones_like(values) if batch.weights is None else batch.weights
        total, count = score(logits, batch)[next(iter(task.chance))]
        np.testing.assert_allclose(total, (values * weights).sum(), rtol=1e-5)
        assert count == weights.sum()


def test_report_and_facts_are_plain(make):
    task = make()
    figures = task.report({name: float(value) for name, value in task.chance.items()})
    assert all(np.isfinite(value) for value in figures.values())
    json.dumps(figures)
    json.dumps(dict(task.facts))


def test_wrong_names_are_told():
    with pytest.raises(UserError, match="unknown task 'langage_model': did you mean 'language_model'"):
        make_task("langage_model")
    with pytest.raises(
        UserError, match="unknown argument of the task 'language_model': 'windows': did you mean 'window'"
    ):
        make_task("language_model", windows=3)
