"""Properties of every task in GENERATORS; what holds for all tasks is in test_tasks.py.

A new task needs a line in tests/solvers/; the rest is checked by itself.
"""

import collections
import functools
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from lstm_jax.models import Outputs
from lstm_jax.support.errors import UserError
from lstm_jax.tasks import GENERATORS, arguments, make_task, scores
from lstm_jax.tasks.base import Batch
from lstm_jax.training import objective
from tests.solvers import SOLVERS

SPLITS = ("train", "valid", "test")
CASES = [(name, number) for name, known in SOLVERS.items() for number in range(len(known.cases))]
DRAWS = 32768
"""Sequences that chance is measured on, and as many others that the blind predictor is fitted on."""
MANY = dict(batch=DRAWS, epoch_steps=1, eval_batch=DRAWS, eval_steps=1)
SIGMAS = 4.5


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}", scope="module")
def case(request):
    """(name, its own options). Of the whole module, so that pytest does all of a case before the next."""
    name, number = request.param
    yield name, SOLVERS[name].cases[number]
    made.cache_clear()
    DRAWN.clear()


@pytest.fixture
def make(case):
    def build(**changes):
        sizes = dict(batch=64, epoch_steps=2, eval_batch=64, eval_steps=2, epochs=2, seed=0)
        return made(case[0], tuple((case[1] | sizes | changes).items()))

    return build


@functools.cache
def made(name, arguments):
    """A task, one object for the same arguments, so that `drawn` knows it again."""
    return make_task(name, **dict(arguments))


def own_options(case):
    """All of the task's own options with their values."""
    name, changed = case
    own = inspect.signature(GENERATORS[name]).parameters
    return {option: changed.get(option, parameter.default) for option, parameter in own.items()}


def drawn(task, split, steps=None):
    """The sequences of the first `steps` steps side by side, as one Batch of NumPy arrays."""
    if (id(task), split, steps) not in DRAWN:
        DRAWN[id(task), split, steps] = task, draw(task, split, steps)
    return DRAWN[id(task), split, steps][1]


DRAWN = {}
"""What `drawn` gave, with the task, so that its id is no other's; compiling is what these tests cost."""


def draw(task, split, steps):
    batch_at = jax.jit(task.batch, static_argnums=(1, 3))
    steps = steps or (int(task.epoch_ends[0]) if split == "train" else task.steps[split])
    each = [jax.device_get(batch_at(task.data, split, step, 0)) for step in range(steps)]
    join = {
        field: None
        if getattr(each[0], field) is None
        else np.concatenate([getattr(batch, field) for batch in each], axis=0 if field == "lengths" else 1)
        for field in ("inputs", "targets", "weights", "lengths")
    }
    return Batch(**join, fresh=True)


def weights(batch):
    """[T, B], 1 where scored."""
    return np.ones(batch.inputs.shape[:2], np.float32) if batch.weights is None else batch.weights


def rows(batch):
    """The real inputs of each sequence as bytes."""
    ends = [len(batch.inputs)] * batch.inputs.shape[1] if batch.lengths is None else batch.lengths
    return [row[:end].tobytes() for row, end in zip(np.moveaxis(batch.inputs, 1, 0), ends, strict=True)]


def means(task, logits, batch):
    """Metric -> mean over the scored steps."""
    pairs = jax.device_get(jax.jit(task.metrics)(logits, batch))
    return {name: float(total) / float(count) for name, (total, count) in pairs.items()}


def is_classes(batch):
    return np.issubdtype(batch.targets.dtype, np.integer)


def test_every_generated_task_has_a_line():
    assert set(SOLVERS) == set(GENERATORS)
    for name, known in SOLVERS.items():
        assert known.cases, name


def test_its_defaults_are_all_set_and_it_holds_memory_for_a_length(case):
    """Every option has a default, so that a config can list it; `length` sets the steps of a sequence."""
    name, changed = case
    own = inspect.signature(GENERATORS[name]).parameters
    assert set(own) <= set(arguments(name))
    assert set(changed) <= set(own)
    if "length" in own:
        one, longer = (GENERATORS[name](**(changed | {"length": n * changed["length"]})) for n in (1, 2))
        assert longer.steps > one.steps


def test_other_seeds_and_steps_are_other_sequences(make):
    task, other = make(), make(seed=1)
    assert rows(drawn(task, "train")) != rows(drawn(other, "train"))
    for split in SPLITS:
        both = rows(drawn(task, split))
        assert both[: len(both) // 2] != both[len(both) // 2 :]  # two steps


def test_a_row_is_the_same_in_a_batch_of_any_size(make):
    """So a batch is the same on one device as cut over several."""
    eight, four = make(batch=8), make(batch=4)
    whole = drawn(eight, "train", 1)
    jax.tree.map(np.testing.assert_array_equal, cut(whole, slice(0, 4)), drawn(four, "train", 1))
    # A device holds only its rows of the data, and draws just these.
    second = jax.tree.map(
        lambda leaf, axis: leaf if axis is None else leaf[4:],
        eight.data,
        eight.batch_axes,
        is_leaf=lambda x: x is None,
    )
    there = jax.device_get(jax.jit(eight.batch, static_argnums=(1, 3))(second, "train", 0, 0))
    jax.tree.map(np.testing.assert_array_equal, cut(whole, slice(4, 8)), there._replace(fresh=True))


def cut(batch, columns):
    return batch._replace(
        **{
            field: getattr(batch, field)[columns] if field == "lengths" else getattr(batch, field)[:, columns]
            for field in ("inputs", "targets", "weights", "lengths")
            if getattr(batch, field) is not None
        }
    )


def test_splits_share_no_sequence_where_there_are_enough(make):
    """With 2^40 sequences and more, two draws of a hundred have none in common; with fewer they may, and all
    that can be asked is that the splits are not the same stream."""
    task = make()
    batches = {split: rows(drawn(task, split)) for split in SPLITS}
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert batches[one] != batches[other]
        if task.facts["bits_of_a_sequence"] >= 40:
            assert not set(batches[one]) & set(batches[other])


def test_bits_are_the_entropy_of_the_input(make):
    """Small entropies are measured; of large ones, that they are not small: no sequence comes twice."""
    task = make(**MANY)
    bits, seen = task.facts["bits_of_a_sequence"], rows(drawn(task, "test"))
    counts = np.array(list(collections.Counter(seen).values()))  # np.unique takes 0 bytes off the end
    if bits <= 8:
        share = counts / counts.sum()
        np.testing.assert_allclose(-(share * np.log2(share)).sum(), bits, atol=0.02)
    elif bits >= 40:
        assert len(counts) == len(seen)
    else:  # fewer repetitions than an even draw from 2^bits has would mean that there are more
        assert len(seen) - len(counts) >= 0.5 * (len(seen) - expected_distinct(len(seen), bits)) - 10


def expected_distinct(draws, bits):
    return -(2.0**bits) * math.expm1(draws * math.log1p(-(2.0**-bits)))


def test_every_sequence_is_scored_and_nothing_behind_its_end(make):
    task = make()
    for split in SPLITS:
        batch = drawn(task, split)
        assert np.isin(weights(batch), (0, 1)).all()
        assert (weights(batch).sum(axis=0) > 0).all()
        if batch.lengths is not None:
            assert ((batch.lengths >= 1) & (batch.lengths <= task.buckets[split][0])).all()
            assert not weights(batch)[np.arange(len(batch.inputs))[:, None] >= batch.lengths].any()


def test_targets_are_classes_or_values_of_the_head(make):
    task = make()
    batch = drawn(task, "test")
    if is_classes(batch):
        assert batch.targets.shape == batch.inputs.shape[:2]
        scored = batch.targets[weights(batch) > 0]
        assert scored.min() >= 0 and scored.max() < task.outputs
    else:
        assert batch.targets.shape == (*batch.inputs.shape[:2], task.outputs)
        assert batch.targets.dtype == np.float32


def test_what_is_not_scored_does_not_matter(make):
    """Neither to the metrics nor to what is trained on."""
    task = make()
    batch = drawn(task, "test")
    other = np.where(
        (weights(batch) > 0).reshape(*weights(batch).shape, *[1] * (batch.targets.ndim - 2)),
        batch.targets,
        (batch.targets + 1) % task.outputs if is_classes(batch) else batch.targets + 7,
    )
    logits = np.random.default_rng(0).normal(size=(*batch.inputs.shape[:2], task.outputs)).astype(np.float32)

    @jax.jit
    def trained(logits, batch):
        out = Outputs(logits, (), logits, logits, ())
        return objective.loss(out, batch, {"w": jnp.ones(1)}, task_loss=task.loss)[0]

    for score in (jax.jit(task.metrics), jax.value_and_grad(trained)):
        jax.tree.map(
            np.testing.assert_array_equal, score(logits, batch), score(logits, batch._replace(targets=other))
        )
    np.testing.assert_allclose(  # and what is trained on is the first metric
        trained(logits, batch), means(task, logits, batch)[next(iter(task.chance))], rtol=1e-5
    )


def test_a_player_who_sees_the_input_alone_knows_the_answers(make, case):
    """At exactly the scored steps, each answered before the next step is seen."""
    solve, options = SOLVERS[case[0]].solve, own_options(case)
    if isinstance(solve, str):
        assert len(solve.split()) > 5, "a waiver gives its reason"
        return
    batch = drawn(make(), "test")
    length, width = batch.inputs.shape[:2]
    for b in range(min(width, 128)):
        real = length if batch.lengths is None else batch.lengths[b]
        taken = []

        def steps(b=b, real=real, taken=taken):
            for t in range(real):
                taken.append(t)
                yield batch.inputs[t, b] if batch.inputs.ndim == 3 else int(batch.inputs[t, b])

        answers = []
        for answer in solve(steps(), **options):
            answers.append(answer)
            assert len(taken) == len(answers), "the player looked ahead, or left a step out"
        assert len(answers) == real
        for t, answer in enumerate(answers):
            asked = weights(batch)[t, b] > 0
            assert answer is not None if asked else answer is None or SOLVERS[case[0]].eager, (t, answer)
            if not asked:
                continue
            if isinstance(answer, frozenset):
                assert int(batch.targets[t, b]) in answer, t
            else:
                np.testing.assert_allclose(batch.targets[t, b], answer, rtol=1e-5, atol=1e-6, err_msg=str(t))


def test_a_perfect_predictor_solves_it(make, case):
    task = make()
    assert task.solved
    known = SOLVERS[case[0]].perfect
    for split in ("valid", "test"):
        batch = drawn(task, split)
        if known is not None:
            logits = known(batch)
        elif is_classes(batch):
            logits = 100 * np.eye(task.outputs, dtype=np.float32)[batch.targets % task.outputs]
        else:
            logits = batch.targets
        figures = means(task, logits, batch)
        assert all(criterion.met(figures) for criterion in task.solved), figures
        assert figures[next(iter(task.chance))] < task.chance[next(iter(task.chance))]
        if known is None:
            assert figures[next(iter(task.chance))] < 1e-6


def test_chance_does_not_solve_it(make):
    task = make()
    assert {criterion.metric for criterion in task.solved} <= set(task.chance)
    assert not all(criterion.met(task.chance) for criterion in task.solved)


def blind_predictors(task, batch):
    """The best outputs a step, [T, O], that see no input, for each metric, fitted on `batch`."""
    scored = weights(batch)
    steps, first = len(scored), next(iter(task.chance))
    if task.loss is scores.squared_error:
        counts = np.maximum(scored.sum(axis=1), 1)[:, None]
        mean = (scored[..., None] * batch.targets).sum(axis=1, dtype=np.float64) / counts
        best = dict.fromkeys(task.chance, mean.astype(np.float32))
        if task.outputs == 1:  # a metric that counts close answers is best elsewhere: the best of a grid
            low, high = batch.targets[scored > 0].min(), batch.targets[scored > 0].max()
            grid = [np.full((steps, 1), value, np.float32) for value in np.linspace(low, high, 101)]
            thin = cut(batch, slice(0, None, 4))
            figures = [means(task, spread(constant, thin), thin) for constant in grid]
            for name in set(task.chance) - {first}:
                best[name] = grid[int(np.argmax([figure[name] for figure in figures]))]
        return best
    if task.loss is scores.nats:
        hits = (batch.targets[..., None] == np.arange(task.outputs)) * scored[..., None]
        counts = hits.sum(axis=1, dtype=np.float64) + 0.01  # what was never seen may yet come
        return dict.fromkeys(task.chance, np.log(counts / counts.sum(1, keepdims=True)).astype(np.float32))

    @jax.jit
    def cost(flat):  # any other loss: its least value by descent
        outputs = spread(flat.reshape(steps, task.outputs), batch)
        return jnp.where(scored > 0, task.loss(outputs, batch), 0.0).sum() / scored.sum()

    gradient = jax.jit(jax.value_and_grad(cost))
    found = scipy.optimize.minimize(
        lambda flat: [np.asarray(x, np.float64) for x in gradient(jnp.asarray(flat, jnp.float32))],
        np.zeros(steps * task.outputs),
        jac=True,
        method="L-BFGS-B",
    )
    return dict.fromkeys(task.chance, found.x.reshape(steps, task.outputs).astype(np.float32))


def spread(constant, batch):
    return jnp.broadcast_to(constant[:, None], (*batch.inputs.shape[:2], constant.shape[-1]))


def test_chance_is_what_the_best_predictor_without_input_measures(make):
    """It knows the step t, and is fitted on other draws. Tolerance: 4.5 standard errors of the mean over the
    sequences; for the metrics beyond the loss, of the fit's too, for it picks by their noise; and for the
    loss what fitting costs: half a parameter's worth of loss each, over the number of draws."""
    task = make(**MANY)
    fit, fresh = drawn(task, "train"), drawn(task, "test")
    best = blind_predictors(task, fit)
    first = next(iter(task.chance))
    assert set(means(task, spread(best[first], fresh), fresh)) == set(task.chance)
    parts = 64
    score = jax.jit(task.metrics)
    for name, chance in task.chance.items():
        pairs = np.array(
            [
                jax.device_get(score(spread(best[name], part), part)[name])
                for part in (cut(fresh, slice(i, None, parts)) for i in range(parts))
            ],
            np.float64,
        )
        mean = pairs[:, 0].sum() / pairs[:, 1].sum()
        error = np.sqrt(np.square(pairs[:, 0] - mean * pairs[:, 1]).sum()) / pairs[:, 1].sum()
        tolerance = SIGMAS * error * (1 if name == first else math.sqrt(2)) + 1e-5 * abs(chance)
        if name == first:
            asked = int((weights(fit).sum(axis=1) > 0).sum())  # steps with a constant of their own
            each = chance if task.loss is scores.squared_error else 0.5
            tolerance += 2 * each * asked * task.outputs / weights(fit).sum()
            assert tolerance < 0.05 * chance, "too few draws to see a chance level that is 5 % off"
        assert abs(mean - chance) <= tolerance, (
            f"{name}: {mean:.6g} measured, {chance:.6g} claimed +- {tolerance:.2g}"
        )


@pytest.mark.parametrize("name", GENERATORS)
def test_a_number_of_the_wrong_kind_is_told(name):
    """A half, or a truth value, where a whole number is asked for; what is not finite anywhere."""
    own = {option: value for option, value in arguments(name).items() if not isinstance(value, str | bool)}
    assert own
    for option, value in own.items():
        whole = isinstance(value, int)
        for wrong in (value + 0.5, float(value), True) if whole else (math.nan, math.inf, -math.inf):
            kind = "a whole number" if whole else "a finite number"
            with pytest.raises(UserError, match=f"task.{option}={wrong} is not possible: it must be {kind}"):
                make_task(name, epochs=1, seed=0, **{option: wrong})


def test_impossible_sizes_are_told(case):
    name, options = case
    for changed in (dict(batch=0), dict(eval_steps=0), dict(epochs=0)):
        with pytest.raises(UserError, match="is not possible"):
            make_task(name, **(options | dict(epochs=1, seed=0) | changed))
    if "length" in options:
        with pytest.raises(UserError, match=r"task\.length=0 is not possible"):
            make_task(name, **(options | dict(epochs=1, seed=0, length=0)))
