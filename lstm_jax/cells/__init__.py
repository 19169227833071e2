"""Recurrent cells as records of pure functions, and the table of them."""

from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.cells.lstm import LSTMCarry, lstm

__all__ = ["Carry", "Cell", "LSTMCarry", "Trace", "lstm"]
