"""Every generated task a second time: played by plain Python from its input alone, one step after the other.

To register a task in `lstm_jax.tasks.GENERATORS` is to owe a `Known` in the table SOLVERS of a module here;
each module of this package adds its table by being here. tests/tasks/test_generated_tasks.py does the rest.
"""

import importlib
import pkgutil

from tests.solvers.frame import Known

__all__ = ["SOLVERS", "Known"]


def _merged():
    merged = {}
    for module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
        entries = getattr(importlib.import_module(f"{__name__}.{module}"), "SOLVERS", {})
        assert not set(entries) & set(merged), f"SOLVERS has {set(entries) & set(merged)} twice"
        merged |= entries
    return merged


SOLVERS = _merged()
