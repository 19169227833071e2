"""News in four topics: Zhang, Zhao & LeCun 2015, "Character-level Convolutional Networks".

    python experiments/classify.py --config=configs/classify/ag_news.py

Needs a network once (TFDS ag_news_subset, 11 MB): 120,000 items to train, of which a tenth validates, 7,600
to test. Published: 88.8 % right by a bag of words, 92.0 % by n-grams, 86.1 % by an LSTM on word vectors
(Zhang et al. 2015, table 4, at second hand). Expected above 90 %. Not run here: there was no network.
"""

from ml_collections import ConfigDict

from configs.classify import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.task.source = "ag_news_subset"
    config.task.lower = True
    config.task.min_count = 5
    config.task.longest = 128
    config.model.pooling = "mean"
    config.model.hidden = (128,)
    config.model.embedding = 128
    config.model.dropout.input = 0.5
    config.model.dropout.output = 0.5
    config.optim.learning_rate = 1e-3
    config.train.epochs = 6
    return config
