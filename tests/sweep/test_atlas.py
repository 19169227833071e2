"""The atlas: its plan, its data, members alone and together, its records, its choice and its map."""

import csv
import json
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import atlas as definition
from lstm_jax import cells, models
from lstm_jax.support import pytrees
from lstm_jax.support.errors import UserError
from lstm_jax.sweep.atlas import page, records
from lstm_jax.sweep.atlas.plan import make_plan, units_of
from lstm_jax.sweep.atlas.train import Group, draw_column
from lstm_jax.tasks import make_task
from lstm_jax.training import optim
from lstm_jax.training.state import init_state, make_update, run_data

MINI = types.SimpleNamespace(
    SCALES={
        "mini": dict(
            hidden=8, embedding=4, batch=4, length=6, steps=6, evaluate_every=3, eval_batch=8, seeds=2,
            longer=(7, 9),
        )
    },
    RATES=(1e-2,),
    BIASES=(0.0, 2.0),
    OTHER_RATES=(1e-2, 3e-2),
    CELLS={"elman": {}, "lstm": {}},
    TASKS={
        "parity": {"group": "track state"}, "dyck": {"group": "stack", "multiple": 2},
        "delayed_recall": {"group": "hold"},
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def plan():
    return make_plan(MINI, "mini")


@pytest.fixture(scope="module")
def sequences(plan):
    return {column.label: draw_column(column, plan) for column in plan.columns}


@pytest.fixture(scope="module")
def trained(plan, sequences):
    """The records of the LSTM on two tasks, by one program."""
    return Group(plan, plan.rows[1], [sequences["parity"], sequences["dyck"]]).run()


@pytest.mark.parametrize("scale", definition.SCALES)
def test_the_definition_is_whole(scale):
    """Every cell has as many trials and near the parameters of the LSTM; every task can be made."""
    plan = make_plan(definition, scale)
    assert {len(row.trials) for row in plan.rows} == {len(definition.OTHER_RATES)}
    wanted = pytrees.count(
        jax.eval_shape(
            lambda key: cells.lstm(plan.scale["hidden"]).init(key, plan.scale["embedding"]), jax.random.key(0)
        )
    )
    for row in plan.rows:
        width, parameters = units_of(row, plan.scale)
        assert abs(parameters - wanted) < 0.25 * wanted, (row.label, width, parameters)
        cells.make_cell(row.name, width, options=row.longer_options)
    for column in plan.columns:
        task = column.task(plan.scale)
        longer = column.longer(plan.scale)
        assert task.solved and longer and all(length > column.length for length, _ in longer)
        assert all((other.vocab, other.outputs) == (task.vocab, task.outputs) for _, other in longer)
        assert max(task.vocab, task.outputs) < 128  # kept as bytes
    assert set(definition.DELETANG) <= set(definition.TASKS)
    assert definition.get_config("S5").task.group == "S5"


def test_a_members_sequences_are_the_tasks_own(plan, sequences):
    """Those of its seed, step by step; not scored is not asked, and valid is nobody's training."""
    drawn = sequences["parity"]
    inputs, targets = (np.asarray(leaf) for leaf in drawn.train)
    task = make_task("parity", length=6, batch=4, epochs=1, seed=2)
    for step in (0, 5):
        batch = task.batch(task.data, "train", step, 0)
        np.testing.assert_array_equal(inputs[1, step], batch.inputs)
        np.testing.assert_array_equal(targets[1, step] >= 0, batch.weights > 0)
        np.testing.assert_array_equal(
            targets[1, step][batch.weights > 0], np.asarray(batch.targets)[batch.weights > 0]
        )
    assert not np.array_equal(drawn.valid[0], drawn.test[0])
    assert drawn.lengths == (7, 9) and [int((t >= 0).sum()) for t in drawn.tests[1]] == [8, 8]
    assert (np.asarray(drawn.tests[1])[0, 6] >= 0).all() and (np.asarray(drawn.tests[1])[1, 8] >= 0).all()


def test_a_member_among_others_is_trained_as_alone(plan, sequences, trained):
    """Against the update of one run in a Python loop, on the task itself."""
    member = plan.members(plan.rows[1], plan.columns[0])[3]
    (record,) = [
        r for r in trained if (r["task"], r["forget_bias"], r["seed"]) == ("parity", 2.0, member.seed)
    ]
    task = make_task("parity", length=6, batch=4, epochs=1, seed=member.seed)
    outputs, vocab = sequences["dyck"].task.outputs, sequences["dyck"].task.vocab  # the larger of the two
    task = task._replace(outputs=outputs, vocab=vocab)
    cell = {"name": "lstm", "forget_bias": 2.0}
    model = models.make_model(
        vocab=vocab, outputs=outputs, hidden=(8,), embedding=4, init="uniform(0.3)", cell=cell
    )
    params = model.init(jax.random.key(member.seed))
    optimizer = optim.build(params, name="adam", clip=1.0, learning_rate=1e-2)
    state = init_state(model, optimizer, params, 4, average=False)
    update = jax.jit(make_update(task, model, optimizer))
    losses = []
    inputs, targets = (jnp.asarray(leaf, jnp.int32) for leaf in sequences["parity"].valid)
    score = jax.jit(lambda params: _loss(model, params, inputs, targets))
    for step in range(6):
        state, _ = update(state, run_data(task, jax.random.key(0)))
        if step in (2, 5):
            losses.append(float(score(state.params)))
    np.testing.assert_allclose(record["valid_loss"], min(losses), rtol=1e-4)
    assert record["best_step"] == 3 * (1 + int(np.argmin(losses)))


def _loss(model, params, inputs, targets):
    """Mean nats of the asked steps over the two classes of parity."""
    logits = model.apply(params, inputs, model.carry(params, inputs.shape[1])).logits[..., :2]
    asked = targets >= 0
    given = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(targets, 0)[..., None], -1)[..., 0]
    return -(given * asked).sum() / asked.sum()


def test_records_are_kept_and_what_is_done_is_not_done_again(plan, trained, tmp_path):
    assert len(trained) == 8 and {r["task"] for r in trained} == {"parity", "dyck"}
    assert set(trained[0]["longer"]) == {"7", "9"} and "closing" in trained[-1]["test"]
    records.append(tmp_path, trained)
    with (tmp_path / "lstm.jsonl").open("a") as file:
        file.write('{"cell": "ls')  # as a kill leaves it
    assert records.read(tmp_path) == [json.loads(json.dumps(record)) for record in trained]
    done = records.keys(records.read(tmp_path), plan)
    left = [(row.label, [c.label for c in some]) for row, some in plan.groups(done, apart=False)]
    assert left == [("elman", ["parity", "dyck", "delayed_recall"]), ("lstm", ["delayed_recall"])]
    assert [len(some) for _, some in plan.groups(done, apart=True)] == [1] * 4
    again = [trained[0] | {"solved": True}]
    records.append(tmp_path, again)  # mends the line that was cut off
    assert records.read(tmp_path)[0]["solved"] is True and len(records.read(tmp_path)) == 8
    (tmp_path / "lstm.jsonl").write_text("no record\n" + json.dumps(trained[0]) + "\n")
    with pytest.raises(UserError, match=r"lstm\.jsonl:1 is no record of the atlas"):
        records.read(tmp_path)


def made(rate, seed, loss, solved=False, test=0.5):
    figures = {"nats": 1.0, "accuracy": test}
    return dict(
        cell="lstm", task="parity", rate=rate, forget_bias=0.0, seed=seed, valid_loss=loss, solved=solved,
        solved_step=10 if solved else None, test=figures, longer={"7": figures, "9": figures}, units=8,
        seconds=1.0, steps=6,
    )  # fmt: skip


def test_a_seed_does_not_choose_its_own_trial():
    """Seed 1 is lucky with the rate 0.1, but the other seeds are best with 0.2."""
    runs = [made(0.1, 1, 0.0), made(0.1, 2, 3.0), made(0.1, 3, 3.0)]
    runs += [made(0.2, 1, 1.0), made(0.2, 2, 1.0), made(0.2, 3, None)]  # seed 3 diverged
    picked = {run["seed"]: run["rate"] for run in records.chosen(runs)}
    assert picked == {1: 0.1, 2: 0.1, 3: 0.2}
    runs[-1]["valid_loss"] = 1.0
    assert {run["seed"]: run["rate"] for run in records.chosen(runs)} == {1: 0.2, 2: 0.2, 3: 0.2}
    assert records.chosen([made(0.1, 1, 2.0), made(0.2, 1, 1.0)])[0]["rate"] == 0.2


def test_the_map_shows_what_was_run_and_hatches_the_rest(plan, tmp_path):
    runs = [made(0.1, 1, 0.1, solved=True, test=1.0), made(0.1, 2, 0.2, solved=False, test=0.75)]
    grid = records.squares(runs, plan)
    square = grid[1][0]
    assert (square.runs, square.solved, square.metric) == (2, 1, "accuracy")
    assert square.test == square.longer == 0.875 and square.best_longer == 1.0
    assert math.isinf(square.median_step) and square.by_length == {7: 0.875, 9: 0.875}
    assert [s.runs for row in grid for s in row] == [0, 0, 0, 2, 0, 0]
    figure = page.draw_map(grid, "title")
    axes = figure.axes[0]
    assert len(axes.patches) == 5 and all(patch.get_hatch() for patch in axes.patches)
    assert "1/2" in {text.get_text() for text in axes.texts}
    whole = [run | {"commit": "abc", "hardware": "<two> cores"} for run in runs]
    files = {path.name: path for path in page.write(grid, plan, whole, {"parity": (1, 2, 3)}, tmp_path)}
    table = list(csv.DictReader(files["squares.csv"].open()))
    assert [(row["cell"], row["task"], row["solved"]) for row in table] == [("lstm", "parity", "1")]
    biases = list(csv.DictReader(files["forget_bias.csv"].open()))
    assert [(row["bias"], row["runs"], row["solved"], row["longer"]) for row in biases] == [
        ("0.0", "2", "1", "0.875")
    ]
    text = files["map.html"].read_text()
    assert text.count("<svg") == 3 and "&lt;two&gt;" in text and "http://www.w3.org" in text
    assert "<script" not in text and "src=" not in text


def test_unknown_names_and_uneven_trials_are_told():
    with pytest.raises(UserError, match="unknown cell of the atlas 'lstmm'"):
        make_plan(MINI, "mini", ["lstmm"])
    with pytest.raises(UserError, match="unknown scale of the atlas 'huge'"):
        make_plan(MINI, "huge")
    uneven = types.SimpleNamespace(**vars(MINI) | {"OTHER_RATES": (1e-3,)})
    with pytest.raises(UserError, match="every cell has as many trials"):
        make_plan(uneven, "mini")
