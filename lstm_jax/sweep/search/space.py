"""What a search may choose from: the parts `random` and `grid` of a sweep's definition, as optuna has it."""

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lstm_jax.support.errors import UserError
from lstm_jax.sweep.define import Member, expand
from lstm_jax.sweep.distributions import draw, rounded

__all__ = ["Space", "space_of"]

TAIL = 0.001
"""The share of a normal distribution on either side that is never proposed: optuna's ranges are finite."""

Suggest = Callable[[Any], Any]
"""(trial) -> the value of a field."""


class Space(NamedTuple):
    """A space of settings.

    Attributes:
      base: the config that every trial starts from.
      fields: dotted field -> how its value is asked of a trial.
      plain: the same as data, for the record.
      metric: as the definition has it, "" for the default.
    """

    base: ConfigDict
    fields: dict[str, Suggest]
    plain: dict[str, Any]
    metric: str

    def member(self, trial: Any) -> Member:
        """The run that a trial proposes.

        Raises:
          UserError: a value that the config's field does not take.
        """
        values = {name: suggest(trial) for name, suggest in self.fields.items()}
        return expand(self.base, {"list": [values], "seeds": [self.base.seed]}).members[0]


def space_of(base: ConfigDict, definition: Mapping[str, Any]) -> Space:
    """The space of a sweep's definition.

    The distributions of `random` become optuna's, `normal` as its quantile between TAIL and 1 - TAIL, so that
    what is proposed at first is drawn from the distribution itself; a field of `grid` is a choice among its
    values. Numbers are trained with four significant digits of what optuna proposes. `seeds`, and `count` and
    `seed` of `random`, are of no account: a trial trains one run.

    Raises:
      UserError: nothing to search over, parts that are no space, or distributions that will not do.
    """
    for part in ("zip", "list"):
        if definition.get(part):
            raise UserError(
                f'a search takes its space from the parts "random" and "grid" of a sweep: leave out {part!r}'
            )
    specs = {n: s for n, s in (definition.get("random") or {}).items() if n not in ("count", "seed")}
    for name, values in (definition.get("grid") or {}).items():
        specs[name] = {"distribution": "choice", "values": list(values)}
    if not specs:
        raise UserError(
            'there is nothing to search over: give sweep() a part "random", as '
            "configs/searches/delayed_recall.py has it, or --grid=FIELD=VALUE,VALUE"
        )
    fields = {}
    for name, spec in specs.items():
        for value in draw(name, spec, 2, 0):  # its checks, and those of the field
            expand(base, {"list": [{name: value}]})
        fields[name] = SUGGESTS[spec["distribution"]](name, spec)
    return Space(base, fields, specs, definition.get("metric", ""))


def _float(log: bool) -> Callable[[str, Mapping[str, Any]], Suggest]:
    def made(name: str, spec: Mapping[str, Any]) -> Suggest:
        return lambda trial: rounded(trial.suggest_float(name, spec["low"], spec["high"], log=log))

    return made


def _int(log: bool) -> Callable[[str, Mapping[str, Any]], Suggest]:
    def made(name: str, spec: Mapping[str, Any]) -> Suggest:
        return lambda trial: trial.suggest_int(name, spec["low"], spec["high"], log=log)

    return made


def _normal(name: str, spec: Mapping[str, Any]) -> Suggest:
    def suggest(trial: Any) -> float:
        quantile = trial.suggest_float(f"{name} (quantile)", TAIL, 1 - TAIL)
        return rounded(spec["mean"] + spec["std"] * NormalDist().inv_cdf(quantile))

    return suggest


def _choice(name: str, spec: Mapping[str, Any]) -> Suggest:
    values: Sequence[Any] = spec["values"]
    if all(value is None or isinstance(value, bool | int | float | str) for value in values):
        return lambda trial: trial.suggest_categorical(name, values)
    texts = {str(value): value for value in values}  # optuna stores no tuples
    return lambda trial: texts[trial.suggest_categorical(name, list(texts))]


SUGGESTS: dict[str, Callable[[str, Mapping[str, Any]], Suggest]] = {
    "uniform": _float(log=False),
    "log_uniform": _float(log=True),
    "integer": _int(log=False),
    "log_integer": _int(log=True),
    "normal": _normal,
    "choice": _choice,
}
"""For each name of `distributions.DISTRIBUTIONS`."""
