"""The instruments that measure losses, through the table, on runs without training."""

import json

import numpy as np
import pytest

from lstm_jax.analysis import losses
from lstm_jax.analysis.instruments import INSTRUMENTS, Options, chosen, measure_and_write
from lstm_jax.corpora import build_corpus
from lstm_jax.predict import Run
from lstm_jax.support.errors import UserError
from lstm_jax.tasks.language_model import from_corpus

MODEL = {"hidden": (4, 3), "embedding": 3, "init": "uniform(0.5)", "cell": {"name": "lstm"}}


class Untrained(Run):
    """A run of which there is a config and nothing else."""

    step = 7

    @property
    def params(self):
        return self.initial_params


class OfText(Untrained):
    """A run over a text of our own."""

    @property
    def vocabulary(self):
        return self.task.corpus.vocabulary

    @property
    def task(self):
        return TEXT


class OfLabels(Untrained):
    """A classifier's run."""

    @property
    def encoder(self):
        return self.task.encoder


def words(count, seed):
    draw = np.random.default_rng(seed)
    lines = [" ".join(f"w{n}" for n in draw.zipf(1.6, 9) % 12) for _ in range(count)]
    return "\n".join(lines) + "\n"


SIZES = {"train": 60, "valid": 80, "test": 9}
TEXT = from_corpus(
    build_corpus("text", {split: words(n, n) for split, n in SIZES.items()}, splitter="whitespace"),
    batch=2, window=5, epochs=1, seed=0,
)  # fmt: skip


def run_of(tmp_path, kind=Untrained, model=MODEL, **task):
    (tmp_path / "run").mkdir()
    config = {"task": task, "model": model, "seed": 3, "train": {"epochs": 1}}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    return kind(tmp_path / "run")


def taken(run, name, **options):
    seen = []
    written = measure_and_write(run, name, Options(**options), lambda done, total: seen.append((done, total)))
    assert seen and seen[-1][0] == seen[-1][1] > 0
    *pictures, numbers = written.files
    assert pictures and all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert written.lines
    return json.loads(numbers.read_text())


def test_of_a_text(tmp_path):
    run = run_of(tmp_path, OfText, name="language_model", corpus="text", window=5)
    tokens, eos = TEXT.corpus.tokens["valid"], TEXT.corpus.vocabulary.eos
    nats = losses.token_nats(run.model, run.params, tokens, eos)

    found = taken(run, "frequency")
    assert found["tokens"] == len(tokens) and found["step"] == 7
    for part in ("by_frequency", "by_position"):
        assert sum(found[part]["tokens"]) == len(tokens)
        np.testing.assert_allclose(sum(found[part]["total"]), nats.sum(dtype=np.float64), rtol=1e-4)

    found = taken(run, "context", targets=50)
    assert found["lengths"] == [5, 10, 20, 30, 50, 70, 100, 150, 200] and found["targets"] >= 50
    # Gates around one half forget within 200 tokens what float32 can tell.
    np.testing.assert_allclose(found["excess_nats"][-1], 0, atol=1e-5)
    found = taken(run, "context", lengths=("2", "4"), targets=20)
    assert found["lengths"] == [2, 4]

    found = taken(run, "perturbation", targets=20)
    assert set(found["increase"]) == {"local", "global", "replaced", "dropped"} and found["context"] == 300

    found = taken(run, "ablation", tokens=1000, units=2, field="c")
    assert found["layer"] == [1, 1, 2, 2] and found["field"] == "c" and found["held_at"] == "mean"
    assert found["steps"] == 200 and found["largest"][0]["effect"] == max(found["effect"])

    assert chosen(run, ["all"])[1].keys() == {"recall", "attention", "confusion", "calibration"}
    with pytest.raises(UserError, match="carries no"):
        taken(run, "ablation", field="m")
    with pytest.raises(UserError, match="has 90 tokens"):
        taken(run, "perturbation", split="test")


def test_of_a_memory_task(tmp_path):
    run = run_of(tmp_path, name="delayed_recall", length=6, symbols=4, eval_batch=8, eval_steps=2)
    found = taken(run, "recall", lengths=(3, 12))
    assert list(found["figures"]) == ["3", "6", "12"] and found["metric"] == "accuracy"
    assert all(chance["accuracy"] == 0.25 for chance in found["chance"].values())
    assert 0 <= found["figures"]["12"]["accuracy"] <= 1

    found = taken(run, "ablation", tokens=28)
    assert len(found["effect"]) == 7 and found["steps"] == 4  # one scored step in each of 4 sequences of 7
    left = chosen(run, ["all"])[1]
    assert "turns no attention" in left.pop("attention")
    assert left.keys() == {"context", "perturbation", "frequency"}
    assert all(reason.startswith("it needs a text") for reason in left.values())
    with pytest.raises(UserError, match="needs a text"):
        taken(run, "context")
    with pytest.raises(UserError, match="length"):
        taken(run, "recall", lengths=(0,))


def test_recall_by_lengths_of_its_own(tmp_path):
    """Times 1/4 to 8; the figures at the trained length are those of evaluation."""
    run = run_of(tmp_path, name="delayed_recall", length=4, symbols=3, eval_batch=8, eval_steps=1)
    found = taken(run, "recall", split="test")
    assert list(found["figures"]) == ["1", "2", "4", "6", "8", "12", "16", "32"]
    batch = run.task.batch(run.task.data, "test", 0, 0)
    logits = run.model.apply(run.params, batch.inputs, run.model.carry(run.params, 8)).logits
    right = np.asarray(logits[-1].argmax(-1) == batch.targets[-1])
    assert found["figures"]["4"]["accuracy"] == right.mean()


def test_recall_of_the_sequences_of_the_first_epoch(tmp_path):
    run = run_of(tmp_path, name="delayed_recall", length=4, symbols=3, batch=5, epoch_steps=3)
    found = taken(run, "recall", split="train", lengths=(2,))
    task, right = run.task, []
    for step in range(3):
        batch = task.batch(task.data, "train", step, 0)
        logits = run.model.apply(run.params, batch.inputs, run.model.carry(run.params, 5)).logits
        right.append(np.asarray(logits[-1].argmax(-1) == batch.targets[-1]))
    np.testing.assert_allclose(found["figures"]["4"]["accuracy"], np.mean(right), rtol=1e-5)


def test_recall_where_the_trained_length_is_0(tmp_path):
    pytest.importorskip("sklearn")
    run = run_of(tmp_path, name="pixels", length=0, batch=419, eval_batch=180)
    assert list(taken(run, "recall")["figures"]) == ["0", "10", "20", "50", "100"]
    for split in ("train", "test"):
        assert list(taken(run, "recall", split=split, lengths=(8, 16))["figures"]) == ["0", "8", "16"]


def test_recall_by_a_criterion_that_goes_with_the_length(tmp_path):
    run = run_of(tmp_path, name="copying", length=5, items=2, eval_batch=8, eval_steps=1)
    found = taken(run, "recall", lengths=(2, 9))
    assert found["metric"] == "nats" and list(found["solved_at"]) == ["2", "5", "9"]
    for length, bound in found["solved_at"].items():
        np.testing.assert_allclose(bound, 0.1 * found["chance"][length]["nats"], rtol=1e-5)
    assert len(set(found["solved_at"].values())) == 3


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_ablation_reads_whole_texts_whatever_their_batch_s_length(split, tmp_path):
    """Of the static lengths, the first batch of training has one by the draw: here not the shortest."""
    counts = (1, 4, 7, 10, 10)
    lines = [f"{label},{'sat ' * count}" for count in counts for label in ("cat", "dog")]
    for part in ("train", "valid", "test"):
        text = "\n".join(["label,text", *reversed(lines)])
        (tmp_path / f"{part}.csv").write_text(text)
    task = {"source": "files", "data_dir": str(tmp_path), "min_count": 1, "batch": 2, "eval_batch": 2}
    run = run_of(tmp_path, OfLabels, name="text_classification", **task)
    bucket = int(run.task.bucket(run.task.data, split, 0))
    batch = run.task.batch(run.task.data, split, 0, bucket)
    assert len(run.task.buckets[split]) == 4 and (split != "train" or bucket > 0)
    found = taken(run, "ablation", split=split, units=1)
    carry = run.model.carry(run.params, 2)
    logits = run.model.apply(run.params, batch.inputs, carry, lengths=batch.lengths).logits
    nats = np.asarray(run.task.loss(logits, batch))[np.asarray(batch.weights) > 0]
    assert found["steps"] == len(nats) == 2
    np.testing.assert_allclose(found["intact"], nats.mean(), rtol=1e-5)


def test_options_are_checked():
    assert Options(lengths=("3", 5)).lengths == (3, 5)
    for wrong in ({"lengths": ("x",)}, {"lengths": (0,)}, {"targets": 0}, {"units": -1}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Options(**wrong)


def test_the_table_names_them():
    assert {"context", "perturbation", "frequency", "ablation", "recall"} <= set(INSTRUMENTS)
