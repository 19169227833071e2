"""What a sweep is: plain data over a config, expanded into members with short, stable names.

A config file defines it beside `get_config`:

    def sweep():
        return {
            "grid": {"model.cell.forget_bias": [0, 1, "chrono({task.length})"], "task.length": [50, 100]},
            "seeds": 5,
        }

Its parts multiply; each is optional:
  grid    {field: values}: every combination
  zip     {field: values}: the first values of all, the second values of all, ...
  list    [{field: value, ...}, ...], or {label: {field: value, ...}} where the label names them in the tables
  random  {field: {"distribution": ..., ...}, "count": n, "seed": 0}, see distributions.py
  seeds   a number n for 1 to n, or a list
and how it is compared:
  length  the field that is drawn along the axis of lengths (default: task.length where it varies)
  length_label  what that axis is called (default: length (steps))
  metric  what is compared (default: perplexity, accuracy, or else the task's first metric)
  baseline  the variant that the others are compared with: {short field: value}, or text as in
      "forget_bias=1", or a label of the list (default: the first variant)

A value in braces is filled from the member's other fields: "chrono({task.length})", "{2 * task.length}".
A bare "chrono" as forget bias means chrono(T) with T the task's length or window.
"""

import collections
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lstm_jax.cells import NO_FORGET_BIAS
from lstm_jax.cells.spec import split_outside_parentheses
from lstm_jax.runs.directory import flat_config, set_field
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name
from lstm_jax.sweep import fields, templates
from lstm_jax.sweep.baseline import find_baseline
from lstm_jax.sweep.distributions import draw

__all__ = ["PARTS", "Member", "Sweep", "command_line", "expand"]

PARTS = ("list", "zip", "grid", "random", "seeds", "length", "length_label", "metric", "baseline")
"""What a sweep's data may hold. The members come in the order in which the first parts vary slowest."""
MOST_MEMBERS = 10_000
"""A sweep of more is refused before any is made."""
LONGEST = 120
"""Characters of a member's name; a longer one ends in a hash."""
_NUMBER = re.compile(r"(?<![\w.])\d+\.?\d*(e[+-]?\d+)?(?![\w.])", re.IGNORECASE)
LABEL = "variant"
"""The column of the labels of a labelled list."""


class Member(NamedTuple):
    """One run of a sweep.

    Attributes:
      name: of its directory: "forget_bias=1,length=50,seed=3".
      overrides: dotted field -> value, the seed among them.
      labels: short field -> its text in a table, without the seed: members with equal labels differ in their
        seed alone.
      seed: the run's.
      config: the whole config of the run.
    """

    name: str
    overrides: dict[str, Any]
    labels: dict[str, Any]
    seed: int
    config: ConfigDict


class Sweep(NamedTuple):
    """An expanded sweep.

    Attributes:
      base: the config that every member starts from.
      members: in a fixed order.
      length: the short name, among the members' labels, of the axis of lengths; "" where there is none.
      length_label: what that axis is called.
      metric: what is compared; "" for the default.
      baseline: labels of the variant that the others are compared with; None for the default, the first.
    """

    base: ConfigDict
    members: tuple[Member, ...]
    length: str
    length_label: str
    metric: str
    baseline: dict[str, Any] | None = None


class _Choice(NamedTuple):
    """Values that come together; `label` stands for them in names and tables."""

    values: dict[str, Any]
    label: str | None = None


def expand(base: ConfigDict, definition: Mapping[str, Any]) -> Sweep:
    """The members of a sweep.

    Args:
      base: the config that the members start from.
      definition: plain data, see the module.

    Raises:
      UserError: more than MOST_MEMBERS members, an unknown part or field,
        a value of the wrong type, a field swept twice, a bad template or
        distribution, two members that are the same (a forget bias makes no difference to a cell that has
        none), or a baseline that is none of the variants.
    """
    _check_data(definition)
    for part in definition:
        check_name(part, PARTS, "part of a sweep")
    axes = _axes(base, definition)
    swept = [name for axis in axes for name in dict.fromkeys(n for choice in axis for n in choice.values)]
    for name in swept:
        fields.check_field(base, name)
        if swept.count(name) > 1:
            raise UserError(f"the field {name} is swept in two parts of the sweep; leave it in one")
    if "task.name" in swept:
        raise UserError("task.name cannot be swept, as a task has fields of its own: write one config a task")
    short = _short_names(swept)
    length = definition.get("length") or ("task.length" if "task.length" in swept else "")
    if length and length not in swept:
        varied = ", ".join(swept)
        raise UserError(f"the sweep's length is {length!r}, which it does not vary; it varies {varied}")
    if any(length in choice.values and choice.label for axis in axes for choice in axis):
        raise UserError(f"{length} stands in a labelled list: the axis of lengths must be a part of its own")

    count = math.prod(map(len, axes))
    if count > MOST_MEMBERS:
        parts = " x ".join(f"{len(axis):,}" for axis in axes if len(axis) > 1)
        raise UserError(
            f"the sweep has {count:,} members ({parts}): at most {MOST_MEMBERS:,} are allowed; give fewer "
            "values or seeds, or search the space with experiments/search.py"
        )

    members: list[Member] = []
    seen: dict[str, str] = {}
    random = set(definition.get("random", {}))
    for choices in itertools.product(*axes):
        member = _member(base, choices, short)
        same, cell = _what_runs(member.config), member.config.model.cell.name
        if same in seen and random & set(swept):
            continue  # drawn twice
        if same in seen:
            why = f"; the cell {cell!r} has no forget bias" if cell in NO_FORGET_BIAS else ""
            raise UserError(f"the sweep has the same run twice: {seen[same]} and {member.name}{why}")
        seen[same] = member.name
        members.append(member)
    names = [member.name for member in members]
    counts = collections.Counter(names)
    for index, member in enumerate(members):
        if counts[member.name] > 1:  # as "chrono(9)" and "chrono 9" would be
            members[index] = member._replace(name=_hashed(member))
    named = definition.get("length_label") or (f"{short[length].replace('_', ' ')} (steps)" if length else "")
    axis, wanted = short.get(length, ""), definition.get("baseline")
    baseline = find_baseline([member.labels for member in members], wanted, axis) if wanted else None
    return Sweep(base, tuple(members), axis, named, definition.get("metric", ""), baseline)


def command_line(
    config: ConfigDict, definition: Mapping[str, Any] | None, grids: Iterable[str], seeds: str = ""
) -> dict[str, Any]:
    """The definition with what was typed put in: the same field's values are replaced, others added.

    Args:
      config: gives the fields' types.
      definition: of the config file; None where it has none.
      grids: texts like "model.cell.forget_bias=0,1,chrono".
      seeds: "5" for 1 to 5, "3,7" for these, "" for the definition's.

    Raises:
      UserError: a text of another form, an unknown field, a wrong type; or there is nothing to sweep.
    """
    if definition is None and not seeds and not (grids := list(grids)):
        raise UserError(
            "the config file has no sweep(): give --grid=FIELD=VALUE,VALUE or --seeds=N, or take one of "
            "configs/sweeps/"
        )
    if definition is not None:
        _check_data(definition)
    typed: dict[str, Any] = {**(definition or {})}
    given: set[str] = set()
    for text in grids:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise UserError(f"--grid={text}: write FIELD=VALUE,VALUE, e.g. model.cell.forget_bias=0,1,chrono")
        fields.check_field(config, name)
        if name in given:
            raise UserError(f"--grid={name}=... is given twice: write its values in one, {name}=VALUE,VALUE")
        given.add(name)
        like = fields.get(config, name)
        parsed = [fields.parse(name, value, like) for value in split_outside_parentheses(values)]
        typed["grid"] = {**typed.get("grid", {}), name: parsed}
    if seeds:
        try:
            numbers = [int(seed) for seed in seeds.split(",")]
        except ValueError:
            raise UserError(f"--seeds={seeds}: a number of seeds, or seeds with commas between") from None
        typed["seeds"] = numbers if "," in seeds else numbers[0]
    return typed


def _check_data(definition: Any) -> None:
    if not isinstance(definition, Mapping):
        raise UserError(
            f"sweep() gives a {type(definition).__name__}; it must give a dict of the parts of a sweep: "
            f"{', '.join(PARTS)}"
        )


def _what_runs(config: ConfigDict) -> str:
    """The config as text that is the same for the same run.

    In the model's specs 0.0 is 0 and 9.0 is 9, and a forget bias is nothing to a cell that has none.
    """
    plain = config.to_dict()
    if config.model.cell.name in NO_FORGET_BIAS:
        del plain["model"]["cell"]["forget_bias"], plain["model"]["cell"]["forget_bias_trainable"]
    for name, value in flat_config(plain):
        if name.startswith("model.") and isinstance(value, str):
            set_field(plain, name, _NUMBER.sub(lambda number: repr(float(number[0])), value))
    return json.dumps(plain, sort_keys=True, default=str)


def _axes(base: ConfigDict, definition: Mapping[str, Any]) -> list[list[_Choice]]:
    """The choices of each part, the slowest first."""
    axes: list[list[_Choice]] = []
    listed = definition.get("list")
    if listed is not None:
        if not isinstance(listed, list | tuple | Mapping) or not listed:
            raise UserError("the sweep's list must be a list of {field: value}, or {label: {field: value}}")
        labelled = listed.items() if isinstance(listed, Mapping) else [(None, values) for values in listed]
        for _, values in labelled:
            if not isinstance(values, Mapping):
                raise UserError(f"the sweep's list holds {values!r}, which is no {{field: value}}")
        axes.append([_Choice(dict(values), label) for label, values in labelled])
    zipped = _values("zip", definition.get("zip", {}))
    if zipped:
        lengths = {name: len(values) for name, values in zipped.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name} has {count}" for name, count in lengths.items())
            raise UserError(f"the fields of the sweep's zip need equally many values: {counts}")
        rows = zip(*zipped.values(), strict=True)
        axes.append([_Choice(dict(zip(zipped, row, strict=True))) for row in rows])
    for name, values in _values("grid", definition.get("grid", {})).items():
        axes.append([_Choice({name: value}) for value in values])
    if definition.get("random"):
        axes.append(_random(definition["random"]))
    seeds = definition.get("seeds", [base.seed])
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        _check_count("seeds", seeds)
        seeds = list(range(1, seeds + 1))
    if not isinstance(seeds, list | tuple) or not seeds:
        raise UserError(f"the sweep's seeds are {seeds!r}: give their number, 1 or more, or a list of them")
    if any("seed" in choice.values for axis in axes for choice in axis):
        raise UserError('the field seed is swept by the part "seeds" alone')
    return [*axes, [_Choice({"seed": seed}) for seed in seeds]]


def _check_count(part: str, count: int) -> None:
    """Raises UserError for more values than a sweep can have members."""
    if count > MOST_MEMBERS:
        raise UserError(f"the sweep's {part}={count:,}: at most {MOST_MEMBERS:,} members are allowed")


def _values(part: str, given: Any) -> dict[str, Sequence[Any]]:
    """The part {field: values}, checked."""
    if not isinstance(given, Mapping):
        raise UserError(f"the sweep's {part} must be {{field: [values]}}, not {given!r}")
    for name, values in given.items():
        if not isinstance(values, list | tuple) or not values:
            raise UserError(f"the sweep's {part} of {name} is {values!r}: give a list of at least one value")
    return dict(given)


def _random(part: Mapping[str, Any]) -> list[_Choice]:
    """The draws of a random search."""
    count, seed = part.get("count"), part.get("seed", 0)
    if not isinstance(count, int) or count < 1:
        raise UserError(f'the sweep\'s random needs "count", the number of draws; it is {count!r}')
    _check_count("random count", count)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"the sweep's random has the seed {seed!r}: it must be a whole number, 0 or more")
    specs = {name: spec for name, spec in part.items() if name not in ("count", "seed")}
    if not specs:
        raise UserError(
            'the sweep\'s random has no field to draw: add FIELD: {"distribution": "log_uniform", ...}'
        )
    drawn = {name: draw(name, spec, count, seed) for name, spec in specs.items()}
    return [_Choice({name: values[i] for name, values in drawn.items()}) for i in range(count)]


def _short_names(swept: Sequence[str]) -> dict[str, str]:
    """Returns the last part of each dotted name, with as many parts before it as make it unique."""
    found = {}
    for name in swept:
        parts = name.split(".")
        for take in range(1, len(parts) + 1):
            tail = ".".join(parts[-take:])
            if sum(f".{other}".endswith(f".{tail}") for other in swept) == 1 and tail != LABEL:
                break
        found[name] = tail
    return found


def _member(base: ConfigDict, choices: Sequence[_Choice], short: Mapping[str, str]) -> Member:
    raw = {name: _plain(base, name, value) for choice in choices for name, value in choice.values.items()}
    overrides = _resolve(base, raw)
    config = fields.with_values(base, overrides)
    labels: dict[str, Any] = {}
    parts: list[str] = []
    for choice in choices:
        if choice.label is not None:
            labels[LABEL] = choice.label
            parts.append(_word(choice.label))
            continue
        for name in choice.values:
            parts.append(f"{short[name]}={_word(overrides[name])}")
            if name != "seed":
                template = raw[name] if templates.is_template(raw[name]) else None
                labels[short[name]] = templates.label(template) if template else _shown(overrides[name])
    member = Member(",".join(parts), overrides, labels, overrides["seed"], config)
    return member if len(member.name) <= LONGEST else member._replace(name=_hashed(member))


def _plain(base: ConfigDict, name: str, value: Any) -> Any:
    """A bare "chrono" as the template that it stands for."""
    if name == "model.cell.forget_bias" and value == "chrono":
        for longest in ("length", "window"):
            if longest in base.task:
                return f"chrono({{task.{longest}}})"
    return value


def _resolve(base: ConfigDict, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their templates filled, and of the types of the config's fields."""

    def value(name: str, asking: tuple[str, ...]) -> Any:
        if name in asking:
            raise UserError(f"the sweep's fields {' and '.join(asking)} are each filled from the other")
        fields.check_field(base, name)
        like = fields.get(base, name)
        if name not in raw:
            return like
        given = raw[name]
        if templates.is_template(given):
            given = templates.fill(given, lambda other: value(other, (*asking, name)))
            if isinstance(like, int) and isinstance(given, float) and given.is_integer():
                given = int(given)  # "{task.length / 2}" steps
        return fields.convert(name, given, like)

    return {name: value(name, ()) for name in raw}


def _shown(value: Any) -> Any:
    """A value as a table shows it: numbers stay numbers."""
    if isinstance(value, tuple | list):
        return "x".join(map(str, value))
    return value


def _word(value: Any) -> str:
    """A value as part of a directory's name: nothing in it that a shell or a path minds."""
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(_shown(value))
    return re.sub(r"[^\w.+-]+", "-", text).strip("-") if re.search(r"[^\w.+-]", text) else text


def _hashed(member: Member) -> str:
    """The name, cut, with a hash of what the member is."""
    digest = hashlib.sha256(json.dumps(member.overrides, sort_keys=True).encode()).hexdigest()[:8]
    return f"{member.name[: LONGEST - 9]}-{digest}"
