"""What a sweep's data expands to, and what is refused."""

import importlib
import re
from typing import Any

import jax
import pytest
from conftest import ROOT
from ml_collections import ConfigDict

from configs.memory import base
from lstm_jax import models, tasks
from lstm_jax.support import pytrees
from lstm_jax.support.errors import UserError
from lstm_jax.sweep import fields, templates
from lstm_jax.sweep.define import Sweep, command_line, expand
from lstm_jax.sweep.distributions import draw

STUDIES = [
    (path.stem, variant)
    for path in sorted((ROOT / "configs/sweeps").glob("*.py"))
    if path.stem != "__init__"
    for variant in re.findall(rf"--config=configs/sweeps/{path.stem}\.py:?(\w*)", path.read_text())
]
"""(module, variant), "" without one: the commands in the docstrings."""
FILES = {path.stem for path in (ROOT / "configs/sweeps").glob("*.py")} - {"__init__"}
BIAS, LENGTH, RATE = "model.cell.forget_bias", "task.length", "optim.learning_rate"


@pytest.fixture(scope="module")
def config() -> ConfigDict:
    return base.get_config("delayed_recall")


def names(config: ConfigDict, definition: dict) -> list[str]:
    return [member.name for member in expand(config, definition).members]


def test_a_grid_and_seeds_multiply_in_a_fixed_order(config):
    sweep = expand(config, {"grid": {BIAS: [1, 0.5], LENGTH: [5, 9]}, "seeds": 2})
    assert [member.name for member in sweep.members] == [
        f"forget_bias={bias},length={length},seed={seed}"
        for bias in ("1", "0.5")
        for length in (5, 9)
        for seed in (1, 2)
    ]
    last = sweep.members[-1]
    assert last.overrides == {BIAS: "0.5", LENGTH: 9, "seed": 2}
    assert (last.seed, last.labels) == (2, {"forget_bias": "0.5", "length": 9})
    assert (last.config.model.cell.forget_bias, last.config.task.length, last.config.seed) == ("0.5", 9, 2)
    assert config.task.length == 50 and sweep.base.seed == config.seed, "the base was changed"
    assert (sweep.length, sweep.length_label) == ("length", "length (steps)")


def test_every_member_has_its_own_name_and_the_order_is_stable(config):
    grid = {BIAS: [0, 1, "chrono"], LENGTH: [5, 9], "model.hidden": [4, (8, 8)]}
    definition = {"grid": grid, "seeds": [7, 3]}
    found = names(config, definition)
    assert len(set(found)) == len(found) == 3 * 2 * 2 * 2
    assert found == names(config, definition)
    assert found[-1] == "forget_bias=chrono-9,length=9,hidden=8x8,seed=3"


def test_zip_goes_in_step(config):
    found = expand(config, {"zip": {LENGTH: [5, 9], "train.epochs": [2, 4]}}).members
    assert [(m.config.task.length, m.config.train.epochs) for m in found] == [(5, 2), (9, 4)]
    assert [m.seed for m in found] == [config.seed] * 2


def test_a_list_goes_entry_by_entry_with_labels_or_without(config):
    entries = [{"model.cell.name": "gru", "model.hidden": (8,)}, {"model.cell.name": "lstm"}]
    assert names(config, {"list": entries, "seeds": [4]}) == ["name=gru,hidden=8,seed=4", "name=lstm,seed=4"]
    labelled = expand(config, {"list": {"a GRU": entries[0], "LSTM": entries[1]}, "grid": {LENGTH: [5]}})
    assert [m.name for m in labelled.members] == ["a-GRU,length=5,seed=1", "LSTM,length=5,seed=1"]
    assert labelled.members[0].labels == {"variant": "a GRU", "length": 5}
    assert labelled.members[0].config.model.hidden == (8,)


def test_templates_are_filled_from_the_other_fields_swept_or_not(config):
    grid = {BIAS: ["chrono({task.length + 2})"], LENGTH: [5, 9]}
    grid["train.epochs"] = ["{task.batch // task.length}"]
    found = expand(config, {"grid": grid}).members
    assert [m.config.model.cell.forget_bias for m in found] == ["chrono(7)", "chrono(11)"]
    assert [m.config.train.epochs for m in found] == [32 // 5, 32 // 9]
    assert {m.labels["forget_bias"] for m in found} == {"chrono(length + 2)"}, "one variant over all lengths"
    chained = {LENGTH: ["{2 * task.batch}"], "task.batch": [3], "train.epochs": ["{task.length}"]}
    assert expand(config, {"grid": chained}).members[0].config.train.epochs == 6


def test_a_bare_chrono_means_the_task_s_length(config):
    found = expand(config, {"grid": {BIAS: ["chrono"], LENGTH: [5, 9]}}).members
    assert [m.config.model.cell.forget_bias for m in found] == ["chrono(5)", "chrono(9)"]


def test_random_is_reproducible_grows_and_keeps_its_bounds(config):
    specs = {
        RATE: {"distribution": "log_uniform", "low": 1e-4, "high": 1e-1},
        "model.cell.name": {"distribution": "choice", "values": ["lstm", "gru"]},
        LENGTH: {"distribution": "log_integer", "low": 2, "high": 64},
    }
    few, many = (names(config, {"random": specs | {"count": n}}) for n in (4, 9))
    assert many[:4] == few and len(many) == 9
    assert names(config, {"random": specs | {"count": 4, "seed": 1}}) != few
    for member in expand(config, {"random": specs | {"count": 40}}).members:
        assert 1e-4 <= member.config.optim.learning_rate <= 1e-1
        assert 2 <= member.config.task.length <= 64


def test_a_cell_without_a_forget_bias_stands_beside_those_with_one(config):
    variants = [{"model.cell.name": "lstm", BIAS: bias} for bias in (0, 1)]
    found = expand(config, {"list": [*variants, {"model.cell.name": "gru"}], "seeds": 2}).members
    assert [member.config.model.cell.name for member in found] == ["lstm"] * 4 + ["gru"] * 2


def test_a_field_s_draws_do_not_depend_on_the_other_fields():
    spec = {"distribution": "uniform", "low": 0.0, "high": 1.0}
    assert draw("a", spec, 5, 0) == draw("a", spec, 5, 0) != draw("b", spec, 5, 0)
    integers = draw("a", {"distribution": "integer", "low": 1, "high": 3}, 200, 0)
    assert set(integers) == {1, 2, 3}


def test_a_long_name_is_cut_and_stays_its_own(config):
    texts = ["train.init_from", "task.length"]
    found = names(config, {"grid": {texts[0]: ["x" * 150 + end for end in "ab"], LENGTH: [5]}})
    assert len(set(found)) == 2 and max(map(len, found)) <= 120


def test_what_is_typed_joins_what_the_file_says(config):
    typed = [f"{BIAS}=2,chrono(9),chrono", "model.hidden=4,(8,8)"]
    definition = command_line(config, {"grid": {BIAS: [0, 1], LENGTH: [5]}}, typed, "3")
    assert definition["grid"] == {
        BIAS: ["2", "chrono(9)", "chrono"],
        LENGTH: [5],
        "model.hidden": [(4,), (8, 8)],
    }
    assert definition["seeds"] == 3
    assert command_line(config, None, ["optim.average=true,false"], "5,7") == {
        "grid": {"optim.average": [True, False]},
        "seeds": [5, 7],
    }


REFUSED = {
    "unknown part": ({"gird": {}}, "did you mean 'grid'"),
    "unknown field": ({"grid": {"optim.learning_rat": [1]}}, "did you mean 'learning_rate'"),
    "unknown section": ({"grid": {"optin.clip": [1]}}, "did you mean 'optim'"),
    "a section": ({"grid": {"optim": [1]}}, "is a section"),
    "below a value": ({"grid": {"seed.x": [1]}}, "seed is a value"),
    "wrong type": ({"grid": {LENGTH: ["ten"]}}, "task.length='ten' is of type str; the field is of type int"),
    "half an int": ({"grid": {LENGTH: [2.5]}}, "of type float"),
    "a bool for an int": ({"grid": {LENGTH: [True]}}, "of type bool"),
    "an int for a bool": ({"grid": {"optim.average": [1]}}, "of type int"),
    "no list": ({"grid": {LENGTH: 5}}, "a list of at least one value"),
    "no values": ({"grid": {LENGTH: []}}, "a list of at least one value"),
    "unequal zip": ({"zip": {LENGTH: [5, 6], RATE: [0.1]}}, "task.length has 2, optim.learning_rate has 1"),
    "two parts": ({"zip": {LENGTH: [5]}, "grid": {LENGTH: [6]}}, "task.length is swept in two parts"),
    "the same twice": ({"grid": {BIAS: [1, "1"]}}, "the same run twice"),
    "the same in other words": ({"grid": {BIAS: ["0", "0.0"]}}, "the same run twice"),
    "the same spec": ({"grid": {BIAS: ["chrono(9)", "chrono(9.0)"]}}, "the same run twice"),
    "infinite": ({"grid": {RATE: [float("inf")]}}, "cannot be inf"),
    "infinite text": ({"grid": {BIAS: [float("inf")]}}, "cannot be inf"),
    "no dict": ([{"grid": {}}], "sweep() gives a list"),
    "random of nothing": ({"random": {"count": 2}}, "no field to draw"),
    "text for random's seed": ({"random": {"count": 2, "seed": "x"}}, "has the seed 'x'"),
    "a forget bias that is not read": (
        {"grid": {"model.cell.name": ["lstm", "gru"], BIAS: [0, 1]}},
        "same run twice: name=gru,forget_bias=0,seed=1 and name=gru,forget_bias=1,seed=1; the cell 'gru' has "
        "no forget bias",
    ),
    "nor whether it is trained": (
        {"grid": {"model.cell.name": ["lstm_1997"], f"{BIAS}_trainable": [True, False]}},
        "the cell 'lstm_1997' has no forget bias",
    ),
    "seed in a grid": ({"grid": {"seed": [1]}}, 'by the part "seeds" alone'),
    "no seeds": ({"seeds": 0}, "give their number"),
    "text for seeds": ({"seeds": "3"}, "give their number"),
    "the task's name": ({"grid": {"task.name": ["adding"]}}, "one config a task"),
    "unknown in braces": ({"grid": {BIAS: ["chrono({task.lenth})"]}}, "did you mean 'length'"),
    "code in braces": ({"grid": {BIAS: ["chrono({__import__('os')})"]}}, "a field or arithmetic"),
    "no Python": ({"grid": {BIAS: ["chrono({task.})"]}}, "not a field or arithmetic"),
    "nothing by nothing": ({"grid": {BIAS: ["{task.length / 0}"]}}, "division by zero"),
    "a circle": ({"grid": {LENGTH: ["{task.batch}"], "task.batch": ["{task.length}"]}}, "from the other"),
    "unknown distribution": ({"random": {RATE: {"distribution": "log_unifrm"}, "count": 1}}, "did you mean"),
    "missing bound": ({"random": {RATE: {"distribution": "uniform", "low": 1}, "count": 1}}, "needs high"),
    "bounds swapped": (
        {"random": {RATE: {"distribution": "log_uniform", "low": 1, "high": 0.1}, "count": 1}},
        "low must not exceed high",
    ),
    "no count": ({"random": {RATE: {"distribution": "uniform", "low": 0, "high": 1}}}, "number of draws"),
    "list of no fields": ({"list": [3]}, "no {field: value}"),
    "a length not varied": ({"grid": {RATE: [0.1]}, "length": LENGTH}, "which it does not vary"),
}


@pytest.mark.parametrize(("definition", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_in_one_line(config, definition, message):
    with pytest.raises(UserError) as error:
        expand(config, definition)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("grids", "seeds", "message"),
    [
        (["task.length"], "", "write FIELD=VALUE,VALUE"),
        (["task.lengt=3"], "", "did you mean 'length'"),
        (["task.length=3,x"], "", "task.length='x'"),
        (["task.length=3", "task.length=4"], "", "--grid=task.length=... is given twice"),
        (["optim.learning_rate=1e400"], "", "optim.learning_rate cannot be inf"),
        ([], "five", "--seeds=five"),
        ([], "", "has no sweep()"),
    ],
)
def test_what_is_mistyped_is_refused(config, grids, seeds, message):
    with pytest.raises(UserError) as error:
        command_line(config, None, grids, seeds)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "definition, count",
    [
        ({"seeds": 100_000}, "100,000"),
        ({"seeds": 10**15}, "1,000,000,000,000,000"),
        ({"grid": {"optim.learning_rate": [0.1, 0.2]}, "seeds": 6000}, "12,000 members (2 x 6,000)"),
        (
            {
                "random": {
                    "optim.learning_rate": {"distribution": "uniform", "low": 1, "high": 2},
                    "count": 10**9,
                }
            },
            "1,000,000,000",
        ),
    ],
)
def test_a_sweep_of_too_many_members_is_refused_before_any_is_made(config, definition, count):
    with pytest.raises(UserError, match=re.escape(count)):
        expand(config, definition)


def test_a_list_in_place_of_the_data_is_refused_before_it_is_joined(config):
    with pytest.raises(UserError, match=r"sweep\(\) gives a list"):
        command_line(config, [{"grid": {}}], [], "2")


def test_other_numbers_in_a_spec_are_other_runs(config):
    biases = ["1", "10", "1.5", "-1", "chrono(9)", "chrono(90)", "0.1"]
    assert len(expand(config, {"grid": {BIAS: biases}}).members) == len(biases)


def test_a_template_s_value_keeps_its_kind():
    look = {"a.b": 5, "c": 0.5}.__getitem__
    assert templates.fill("{a.b}", look) == 5
    assert templates.fill("x({a.b},{ c * 2 })", look) == "x(5,1)"
    assert templates.label("chrono({task.length + 2 * task.items})") == "chrono(length + 2 * items)"
    assert not templates.is_template("chrono(9)") and not templates.is_template(9)


def test_a_value_takes_the_field_s_type():
    assert fields.convert("x", 1, "0") == "1" and fields.convert("x", 0.25, "0") == "0.25"
    assert fields.convert("x", 1, 0.5) == 1.0 and isinstance(fields.convert("x", 1, 0.5), float)
    assert fields.convert("x", [8], (4, 4)) == (8,)


def build(config: ConfigDict) -> tuple[Any, int]:
    """The task of a config and the number of its model's parameters."""
    section = config.task.to_dict()
    small = {
        "epoch_steps": 1,
        "eval_steps": 1,
        "corpus": "pydoc",
    }  # no licensed text
    section |= {name: value for name, value in small.items() if name in section}
    task = tasks.make_task(**section, epochs=1, seed=1)
    sizes = {"vocab": task.vocab, "input_dim": task.input_dim, "outputs": task.outputs}
    model = models.make_model(**sizes, facts=task.facts, **config.model.to_dict())
    return task, pytrees.count(jax.eval_shape(model.init, jax.random.key(0)))


def study_of(name: str, variant: str = "") -> Sweep:
    module = importlib.import_module(f"configs.sweeps.{name}")
    arguments = (variant,) if variant else ()
    return expand(module.get_config(*arguments), module.sweep(*arguments))


def test_every_study_names_its_command():
    assert {name for name, _ in STUDIES} == FILES


@pytest.mark.parametrize("name, variant", STUDIES)
def test_every_study_expands_and_each_variant_of_it_builds(name, variant):
    """Without seeds: they share task and model."""
    sweep = study_of(name, variant)
    assert len({member.name for member in sweep.members}) == len(sweep.members) >= 2
    together: dict[str, list] = {}
    for member in sweep.members:
        together.setdefault(str(member.labels), []).append(member)
    assert {len(members) for members in together.values()} == {len(sweep.members) // len(together)}
    for first, *_ in together.values():
        task, _ = build(first.config)
        assert not sweep.metric or sweep.metric in task.report(task.chance)


EQUAL = [
    study for study in STUDIES if study[0] in ("associative_recall_cells", "delayed_recall_cells", "greff")
]


@pytest.mark.parametrize("name, variant", EQUAL)
def test_the_studies_of_cells_compare_equal_numbers_of_parameters(name, variant):
    counts: dict[str, int] = {}
    for member in study_of(name, variant).members:
        if member.labels["variant"] not in counts:
            counts[member.labels["variant"]] = build(member.config)[1]
    assert len(counts) >= 3
    assert max(counts.values()) <= 1.03 * min(counts.values()), counts


def test_a_baseline_is_one_of_the_variants(config):
    definition = {"grid": {BIAS: [0, 1], LENGTH: [5, 9]}, "baseline": "forget_bias=1"}
    assert expand(config, definition).baseline == {"forget_bias": "1"}
    assert expand(config, definition | {"baseline": {"forget_bias": 1}}).baseline == {"forget_bias": "1"}
    assert expand(config, {"seeds": 2}).baseline is None
    with pytest.raises(UserError, match="its variants are: forget_bias=0; forget_bias=1"):
        expand(config, definition | {"baseline": "forget_bias=2"})
