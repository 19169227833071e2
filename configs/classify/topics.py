"""What is this paragraph about? Docstrings of Python's library by the chapter that documents their module.

    python experiments/classify.py --config=configs/classify/topics.py

Works offline: seven topics (lstm_jax/corpora/labelled/topics.py), whole modules held out. Words tell a topic,
hardly their order, and 7,500 paragraphs are few to learn words from. Chance is 0.20 right, macro F1 0.05; a
bag of words (benchmarks/bag_of_words.py) 0.51 and 0.45. Expected: a little above that, 0.54 and 0.48 after 3
epochs (experiments/RESULTS.md); more of them overfit.
"""

from ml_collections import ConfigDict

from configs.classify import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.task.source = "topics"
    config.task.lower = True
    config.task.longest = 128
    config.task.batch = 32
    config.model.pooling = "mean"
    config.model.dropout.embedding = 0.2
    config.model.dropout.input = 0.5
    config.model.dropout.output = 0.5
    config.train.epochs = 6
    return config
