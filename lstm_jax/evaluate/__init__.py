"""Figures of a trained model: static evaluation, and apart from it what adapts at test time."""

from lstm_jax.evaluate.static import Evaluator, make_evaluator

__all__ = ["Evaluator", "make_evaluator"]
