"""What a trained run is good for: continuing text and scoring it."""

from lstm_jax.predict.language_model import LanguageModel, LineScore, Sample
from lstm_jax.predict.loading import load

__all__ = ["LanguageModel", "LineScore", "Sample", "load"]
