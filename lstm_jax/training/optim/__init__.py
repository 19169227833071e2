"""Optimizers, learning-rate schedules and weight averaging: thin compositions of optax."""

from lstm_jax.training.optim.averaging import Average, averaged, averaging_from, start_average, update_average
from lstm_jax.training.optim.rules import RULES, build, get_learning_rate, set_learning_rate
from lstm_jax.training.optim.schedules import SCHEDULES, learning_rate

__all__ = [
    "RULES",
    "SCHEDULES",
    "Average",
    "averaged",
    "averaging_from",
    "build",
    "get_learning_rate",
    "learning_rate",
    "set_learning_rate",
    "start_average",
    "update_average",
]
