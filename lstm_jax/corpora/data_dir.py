"""The directories that a person may name: where data lies, and where prepared data is kept."""

import os
from pathlib import Path

__all__ = ["cache_directory", "named_directory"]


def named_directory(data_dir: str) -> Path | None:
    """`data_dir`, or the environment variable LSTM_JAX_DATA where that is "", or None."""
    name = data_dir or os.environ.get("LSTM_JAX_DATA", "")
    return Path(name).expanduser() if name else None


def cache_directory() -> Path:
    """Where prepared data is kept: LSTM_JAX_CACHE, or ~/.cache/lstm_jax; never the data directory."""
    return Path(os.environ.get("LSTM_JAX_CACHE") or "~/.cache/lstm_jax").expanduser()
