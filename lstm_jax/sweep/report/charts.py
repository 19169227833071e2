"""The charts of a page: what the figures for print show, to be pointed at."""

from lstm_jax.sweep.comparison import Comparison
from lstm_jax.sweep.report.chart import Section
from lstm_jax.sweep.report.differences import differences
from lstm_jax.sweep.report.fields import marginal, parallel
from lstm_jax.sweep.report.learning import learning
from lstm_jax.sweep.report.lengths import by_length, maps

__all__ = ["sections"]


def sections(c: Comparison) -> list[Section]:
    """The sections that fit the sweep; none while nothing is finished."""
    if not any(row["status"] == "finished" for row in c.members):
        return []
    made = (differences(c), maps(c), by_length(c), learning(c), parallel(c), marginal(c))
    return [section for section in made if section is not None]
