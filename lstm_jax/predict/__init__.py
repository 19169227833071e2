"""A trained run as Python: generate, score and classify text; read its weights, and make runs from weights.

Imports `evaluate`, `compat` and the rooms below.
"""

from lstm_jax.predict.classification import Classifier, Prediction
from lstm_jax.predict.language_model import LanguageModel, LineScore, Sample
from lstm_jax.predict.loading import load
from lstm_jax.predict.run import Run

__all__ = ["Classifier", "LanguageModel", "LineScore", "Prediction", "Run", "Sample", "load"]
