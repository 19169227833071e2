"""Film reviews, good or bad: Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis".

    python experiments/classify.py --config=configs/classify/imdb.py

Needs a network once (TFDS imdb_reviews, 84 MB): 25,000 reviews to train, of which a tenth validates, 25,000
to test, half of each good. Published: 88.9 % right by words and word vectors (Maas et al. 2011), 86.5 % by an
LSTM from random weights and 92.8 % by one that was trained as an autoencoder before (Dai & Le 2015, table 2,
at second hand). Expected about 87 %. Not run here: no machine so far had a network.
"""

from ml_collections import ConfigDict

from configs.classify import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.task.source = "imdb_reviews"
    config.task.lower = True
    config.task.min_count = 5
    config.task.longest = 400
    config.task.lengths = 6
    config.model.pooling = "mean"
    config.model.hidden = (128,)
    config.model.embedding = 128
    config.model.dropout.input = 0.5
    config.model.dropout.output = 0.5
    config.optim.learning_rate = 1e-3
    config.train.epochs = 8
    return config
