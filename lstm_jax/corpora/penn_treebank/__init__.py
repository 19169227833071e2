"""The TFDS data set `penn_treebank`; `lstm_jax.corpora.ptb` prepares and reads it."""
