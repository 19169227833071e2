"""Warped sequences: the character before this one, however slowly time runs (Tallec & Ollivier 2018).

    python experiments/memory.py --config=configs/memory/warped.py --config.task.length=10

--config.task.form=pad pads instead of repeating. Chance is 1/10 right and ln 10 = 2.303 nats; solved is 99
% right. Tallec & Ollivier: a leaky network survives the uniform warp, only gates the variable one.
Expected: solved after 600 steps (19,200 sequences).
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("warped")
