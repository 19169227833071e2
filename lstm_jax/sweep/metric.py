"""Whether the runs of a sweep will have the metric that they are to be compared by, before any is trained.

`python -m lstm_jax.sweep.metric` reports the figures of a task: configs come in on its standard input, as a
pickle. It is a process of its own, on the CPU, because making a task takes the device, which is the workers'.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from lstm_jax.support.errors import UserError
from lstm_jax.sweep.define import Sweep
from lstm_jax.sweep.processes import own_environment
from lstm_jax.sweep.summary import choose_metric

__all__ = ["check_metric"]


def check_metric(sweep: Sweep) -> None:
    """Looks, before anything is trained, whether the sweep's runs will have its metric.

    One of its members is asked for all: the first whose task can be made. Where none can, or no metric is
    named, there is nothing to check.

    Raises:
      UserError: they will not.
    """
    if not sweep.metric:
        return
    tasks = {json.dumps(member.config.task.to_dict(), default=str): member for member in sweep.members}
    asked = subprocess.run(
        [sys.executable, "-m", "lstm_jax.sweep.metric"],
        input=pickle.dumps([member.config.to_dict() for member in tasks.values()]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=own_environment() | {"JAX_PLATFORMS": "cpu"},
        check=False,
    )
    if asked.returncode == 0 and (names := json.loads(asked.stdout)):
        choose_metric(names, "", sweep.metric, "metric of the sweep:")


def figures_of(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The figures of the first task that can be made; none where none can."""
    from lstm_jax.tasks import figure_names, make_task

    for config in configs:
        try:
            return figure_names(
                make_task(**config["task"], epochs=config["train"]["epochs"], seed=config["seed"])
            )
        except UserError:
            continue
    return []


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not the answer
    json.dump(figures_of(pickle.load(sys.stdin.buffer)), out)
    out.close()
