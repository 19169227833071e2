"""What a trained run is good for: continuing text, scoring it, and being looked into."""

from lstm_jax.predict.classification import Classifier, Prediction
from lstm_jax.predict.language_model import LanguageModel, LineScore, Sample
from lstm_jax.predict.loading import load
from lstm_jax.predict.run import Run

__all__ = ["Classifier", "LanguageModel", "LineScore", "Prediction", "Run", "Sample", "load"]
