"""The memory atlas: every cell on every task, at equal parameters; the map's one definition.

    python experiments/atlas.py --scale=small --minutes=30
    python experiments/atlas.py --scale=full --minutes=10     # on a GPU
    python experiments/atlas.py --figures_only

A line in CELLS or TASKS adds a row or a column, and the same command trains just that. Each cell has as many
units as pay for the parameters of the LSTM's layer. Every cell has the same number of trials a task, RATES x
BIASES, or for a cell without a forget bias as many rates, each with every seed;
`lstm_jax.sweep.atlas.records` says how the trial is chosen. Deletang et al. 2023: hidden 256, lengths 1 to
40, tested on 41 to 500, B = 128, 10 to 15 rates and seeds, up to a million steps.

`get_config` is one member of the map as a config of its own, e.g. for experiments/memory.py.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base

SCALES: dict[str, dict[str, Any]] = {
    "small": dict(
        hidden=32, embedding=16, batch=32, length=12, steps=1500, evaluate_every=100, eval_batch=256,
        seeds=3, longer=(13, 18, 24, 30, 36, 48),
    ),
    "full": dict(
        hidden=64, embedding=32, batch=64, length=40, steps=2500, evaluate_every=125, eval_batch=256, seeds=3,
        longer=(41, 50, 60, 80, 100, 120, 140, 160),
    ),
    "paper": dict(
        hidden=256, embedding=64, batch=128, length=40, steps=20_000, evaluate_every=500, eval_batch=256,
        seeds=3, longer=(41, 60, 80, 100, 150, 200, 250, 300, 350, 400, 450, 500),
    ),
}  # fmt: skip
"""Scale -> width of the LSTM that the others equal in parameters, width of the embedding, B, most symbols of
a sequence, training steps, steps between evaluations, sequences of an evaluation, seeds, longer lengths."""

RATES = (3e-3, 1e-2)
BIASES = (0.0, 1.0, 3.0)
OTHER_RATES = (1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2)
"""Learning rates of Adam and forget biases; the rates of a cell without a forget bias, as many as trials."""

CELLS: dict[str, dict[str, Any]] = {
    "elman": {},
    "gru": {},
    "lstm": {},
    "lstm_1997": {},
    "janet": {},
    "ur_lstm": {},
    "slstm": {},
    "min_lstm": {},
    "scrn": {},
    "attention_lstm": {"options": "slots=16"},
    "fast_weights": {},
    "stack_rnn": {"options": "slots=64", "longer_options": "slots={slots}"},
    "stack_lstm": {"options": "slots=64", "longer_options": "slots={slots}"},
    "tape_rnn": {"options": "slots=64", "longer_options": "slots={slots}"},
}
"""Label -> name (default: the label) of lstm_jax.cells.CELLS, options, and those of the longer test, where
{slots} is as many as the longest sequence needs, with a few to spare."""

TASKS: dict[str, dict[str, Any]] = {
    "delayed_recall": {"group": "hold"},
    "temporal_order": {"group": "hold"},
    "selective_copying": {"group": "hold", "share": 0.75, "options": {"items": 5}},
    "a_n_b_n": {"group": "count", "share": 0.45},
    "associative_recall": {"group": "bind", "share": 0.2, "options": {"letters": 100}},
    "mqar": {"group": "bind", "options": {"pairs": 3, "vocab": 16}},
    "even_pairs": {"group": "track state"},
    "parity": {"group": "track state"},
    "cycle_navigation": {"group": "track state"},
    "modular_arithmetic": {"group": "track state"},
    "S3": {"group": "track state", "name": "state_tracking", "share": 0.5, "options": {"group": "S3"}},
    "A5": {"group": "track state", "name": "state_tracking", "share": 0.5, "options": {"group": "A5"}},
    "Z60": {"group": "track state", "name": "state_tracking", "share": 0.5, "options": {"group": "Z60"}},
    "S5": {"group": "track state", "name": "state_tracking", "share": 0.5, "options": {"group": "S5"}},
    "dyck": {"group": "stack", "multiple": 2},
    "reverse_string": {"group": "stack"},
    "stack_manipulation": {"group": "stack"},
    "modular_arithmetic_brackets": {"group": "stack"},
    "solve_equation": {"group": "stack"},
    "duplicate_string": {"group": "tape"},
    "missing_duplicate": {"group": "tape"},
    "odds_first": {"group": "tape"},
    "binary_addition": {"group": "tape"},
    "binary_multiplication": {"group": "tape"},
    "compute_sqrt": {"group": "tape"},
    "bucket_sort": {"group": "tape"},
}
"""Label -> what it asks for, name (default: the label) of lstm_jax.tasks.TASKS, `share` of the scale's length
that is the task's (default 1), what its lengths are multiples of, and the task's other options."""

DELETANG: dict[str, tuple[float, float, float]] = {
    "even_pairs": (100.0, 100.0, 100.0),
    "modular_arithmetic": (100.0, 100.0, 100.0),
    "parity": (100.0, 100.0, 100.0),
    "cycle_navigation": (100.0, 100.0, 100.0),
    "stack_manipulation": (59.1, 100.0, 100.0),
    "reverse_string": (60.9, 100.0, 100.0),
    "modular_arithmetic_brackets": (59.2, 96.1, 95.4),
    "solve_equation": (67.8, 56.2, 64.4),
    "duplicate_string": (57.6, 52.8, 100.0),
    "missing_duplicate": (54.3, 55.2, 100.0),
    "odds_first": (55.6, 51.9, 100.0),
    "binary_addition": (55.5, 52.7, 100.0),
    "binary_multiplication": (53.1, 52.7, 58.5),
    "compute_sqrt": (57.5, 56.5, 57.8),
    "bucket_sort": (99.3, 78.1, 70.7),
}
"""As remembered, not read again: accuracy in %, best over seeds and rates, at lengths 41 to 500, of LSTM,
Stack-RNN and Tape-RNN in Deletang et al. 2023."""


def get_config(task: str = "parity") -> ConfigDict:
    """One member at the scale "full": the LSTM on that column's task; set cell, rate and bias as you like."""
    scale, column = SCALES["full"], TASKS[task]
    config = base.get_config(column.get("name", task))
    config.task.update(column.get("options", {}))
    config.task.length = round(column.get("share", 1) * scale["length"])
    config.task.update(batch=scale["batch"], epoch_steps=scale["evaluate_every"])
    config.model.update(hidden=(scale["hidden"],), embedding=scale["embedding"])
    config.train.update(epochs=scale["steps"] // scale["evaluate_every"], stop_when_solved=False)
    return config
