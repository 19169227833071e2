"""Models: what a task's batches run through. Each is a function of its config section in the table MODELS."""

from lstm_jax.models.base import DTYPES, Model, Outputs
from lstm_jax.models.dropout import DROPOUT, drop
from lstm_jax.models.recurrent import recurrent

__all__ = ["DROPOUT", "DTYPES", "Model", "Outputs", "drop", "recurrent"]
