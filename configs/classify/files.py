"""Texts of your own, with a label each: CSV, TSV or JSON lines.

    python experiments/classify.py --config=configs/classify/files.py --config.task.data_dir=DIR

DIR holds train.csv, valid.csv and test.csv (or .tsv, .jsonl), or is one such file, of which a tenth is held
out twice, by whole documents where `--config.task.document_column` says what belongs together. Columns are
`text` and `label` unless `--config.task.text_column` and `--config.task.label_column` say otherwise.
Expected: better than the chance that the run prints, and than benchmarks/bag_of_words.py on the same texts,
or else that is the better model. Architecture as configs/classify/default.py (Yang et al. 2016).
"""

from ml_collections import ConfigDict

from configs.classify import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.task.source = "files"
    config.task.lower = True
    return config
