"""Images pixel by pixel, in order or permuted (Le, Jaitly & Hinton 2015).

    python experiments/memory.py --config=configs/memory/pixels.py
    python experiments/memory.py --config=configs/memory/pixels.py:permuted
    python experiments/memory.py --config=configs/memory/pixels.py:mnist
    python experiments/memory.py --config=configs/memory/pixels.py:mnist,permuted

Scikit-learn's digits (64 steps; pip install 'lstm_jax[tasks]'), or MNIST (784 steps; a network, or its
files in --config.task.data_dir). Chance is one of ten digits: 12.5 % of the digits' test images, 11.4 % of
MNIST's. Solved is 90 % right, of MNIST 95 %; published of MNIST: 98 to 99 % in order, 90 to 95 % permuted.
Expected of the digits: solved after 1,022 steps in order (0.94 of the test images right), 15 s of training,
and after 1,493 permuted (0.88 of the test images). MNIST: not measured, for want of a network.
"""

from ml_collections import ConfigDict

from configs.memory import base
from lstm_jax.support.registry import check_name


def get_config(variant: str = "") -> ConfigDict:
    words = variant.split(",") if variant else []
    for word in words:
        check_name(word, ("mnist", "permuted"), "variant of pixels")
    config = base.get_config("pixels")
    config.task.permuted = "permuted" in words
    config.train.epochs = 60
    if "mnist" in words:
        config.task.source = "mnist"
        config.task.batch = 100
        config.model.hidden = (128,)
        config.optim.learning_rate = 1e-3
    return config
