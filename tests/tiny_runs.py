"""Runs' directories as training leaves them, untrained and tiny: what reads a run is tested on these."""

from pathlib import Path

import jax

from lstm_jax import models, tasks
from lstm_jax.corpora import write_encoder, write_vocabulary
from lstm_jax.runs.checkpoint import Checkpoints
from lstm_jax.runs.directory import RunPaths, write_json

TEXTS = {
    "train": "the cat sat on the mat\nthe dog <unk> the cat\na dog sat , too\n" * 3,
    "valid": "the dog sat on a mat\nthe cat sat , too\na cat <unk>\n" * 36,
    "test": "a cat sat\n",
}
MODEL = {
    "hidden": [5, 4],
    "embedding": 4,
    "init": "uniform(0.9)",
    "cell": {"name": "lstm", "forget_bias": "1"},
}
RECALL = {"name": "delayed_recall", "length": 7, "symbols": 3, "distractors": 2}
RECALL |= {"batch": 2, "epoch_steps": 2, "eval_batch": 3, "eval_steps": 2}


def write_run(root: Path, task: dict, model: dict) -> Path:
    """A run's directory as training leaves it, its best parameters drawn from another seed."""
    paths = RunPaths(root)
    paths.root.mkdir(exist_ok=True)
    write_json(paths.config, {"task": task, "model": model, "seed": 3, "train": {"epochs": 1}})
    made = tasks.make_task(**task, epochs=1, seed=3)
    if made.corpus is not None:
        write_vocabulary(made.corpus.vocabulary, paths.vocabulary)
    if made.encoder is not None:
        write_encoder(made.encoder, paths.vocabulary)
    sizes = {"vocab": made.vocab, "input_dim": made.input_dim, "outputs": made.outputs, "facts": made.facts}
    built = models.make_model(**sizes, **model)
    with Checkpoints(paths.checkpoints) as checkpoints:
        checkpoints.save_best(17, built.init(jax.random.key(99)), {"nats": 2.0})
    return paths.root


def write_text_run(root: Path, **task: object) -> Path:
    """A language model's run on TEXTS, which are written beside it."""
    for split, text in TEXTS.items():
        (root / f"{split}.txt").write_text(text)
    section = {"name": "language_model", "corpus": "text", "data_dir": str(root), "batch": 2, "window": 6}
    return write_run(root / "run", section | {"eval_window": 8} | task, MODEL)


def write_recall_run(root: Path, cell: str = "lstm") -> Path:
    """A run of a generated task."""
    return write_run(root, RECALL, MODEL | {"hidden": [4], "cell": {"name": cell}})


def write_label_run(root: Path, labels: tuple[str, ...] = ("cat", "dog", "<b>")) -> Path:
    """A classifier's run: is it about cats or about dogs?"""
    rows = [f"{label},the {label} sat {place} times" for place in range(4) for label in labels]
    for split in ("train", "valid", "test"):
        (root / f"{split}.csv").write_text("\n".join(["label,text", *rows]) + "\n")
    task = {"name": "text_classification", "source": "files", "data_dir": str(root), "min_count": 1}
    task |= {"longest": 6, "batch": 2, "eval_batch": 2}
    return write_run(root / "run", task, MODEL | {"name": "classifier", "hidden": [4], "pooling": "mean"})
