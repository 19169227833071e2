"""Figures of a trained model: exact static evaluation, and what adapts at test time in columns of its own.

Imports `models` and the rooms below.
"""

from lstm_jax.evaluate.cache import CacheEvaluator, make_cache_evaluator
from lstm_jax.evaluate.dynamic import (
    DynamicEvaluator,
    Statistics,
    gradient_statistics,
    make_dynamic_evaluator,
)
from lstm_jax.evaluate.static import Evaluator, make_evaluator, make_members_evaluator

__all__ = [
    "CacheEvaluator",
    "DynamicEvaluator",
    "Evaluator",
    "Statistics",
    "gradient_statistics",
    "make_cache_evaluator",
    "make_dynamic_evaluator",
    "make_evaluator",
    "make_members_evaluator",
]
