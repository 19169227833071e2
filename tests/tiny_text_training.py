"""A training run of a second on a small text, for the tests of training, of processes and of sweeps."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A text in which the next word is half decided by the last: there is something to learn."""
    directory = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for split, lines in (("train", 120), ("valid", 12), ("test", 12)):
        text = ""
        for _ in range(lines):
            word = int(rng.integers(8))
            words = []
            for _ in range(9):
                word = (word * 3 + int(rng.integers(2))) % 8
                words.append("abcdefgh"[word])
            text += " ".join(words) + "\n"
        (directory / f"{split}.txt").write_text(text)
    return str(directory)


def tiny(corpus: str, **changes: object) -> ConfigDict:
    """A run of a second with every device that resume could forget: dropout, jitter, averaging, decay."""
    config = base.get_config()
    config.task.update(corpus="text", data_dir=corpus, batch=4, window=8, window_jitter=1.0, eval_window=32)
    config.model.update(hidden=(8,), embedding=8, tied=True, init="uniform(0.5)")
    config.model.dropout.update(input=0.1, between=0.1, output=0.1, weight=0.1, embedding=0.0, locked=True)
    config.objective.update(ar=0.01, tar=0.01, l2=1e-5, penalty="gradient")
    config.optim.update(name="sgd", learning_rate=6.0, clip=1.0, average=True, average_after=0)
    config.optim.update(scale_by_length=True, schedule="plateau", decay_factor=1.5)
    config.train.update(epochs=3, eval_every=9, steps_per_call=5, tensorboard=False)
    config.evaluate.sample = 0
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config
