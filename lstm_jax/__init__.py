"""lstm_jax: a laboratory for the LSTM as a memory, in pure JAX functions."""

__version__ = "0.1.0"
