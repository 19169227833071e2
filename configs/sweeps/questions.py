"""Questions about a small world: episodic attention over sentences against the LSTM.

    python experiments/sweep.py --config=configs/sweeps/questions.py

Kumar et al. 2016 (the dynamic memory network), questions in the manner of bAbI (Weston et al. 2015): one, two
and three supporting facts, yes or no, counting; stories of 6 sentences, about 128,000 parameters each.
Expected: attention solves one fact and mostly two, where the LSTM stays at half right; both now and then
solve counting; nobody the others, and at yes or no attention stays at chance.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import questions
from lstm_jax.tasks.questions import KINDS


def get_config() -> ConfigDict:
    return questions.get_config()


def sweep() -> dict[str, Any]:
    models = {"LSTM": questions.get_config("lstm").model, "dynamic memory": questions.get_config().model}
    return {
        "list": {
            name: {"model.name": model.name, "model.hidden": model.hidden} for name, model in models.items()
        },
        "grid": {"task.kind": list(KINDS)},
        "seeds": 3,
        "baseline": {"variant": "LSTM"},
    }
