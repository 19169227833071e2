"""Figures of a trained model: static evaluation, and apart from it what adapts at test time."""

from lstm_jax.evaluate.static import evaluate

__all__ = ["evaluate"]
