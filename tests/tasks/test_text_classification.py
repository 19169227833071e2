"""Labelled texts, the task on them, a run of it, and predicting from what the run left."""

import itertools
import json
import os
import pickle
import shutil
import signal
from collections import Counter
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import write_label_run

from configs import base
from experiments import classify
from lstm_jax import evaluate, models, predict
from lstm_jax.analysis import instruments
from lstm_jax.analysis.instruments import Options
from lstm_jax.corpora import encoder as encoders
from lstm_jax.corpora.labelled import (
    Row,
    checked,
    keywords,
    split_documents,
    tfds_sets,
    topics,
    without_repeats,
)
from lstm_jax.corpora.labelled.tables import load, read_rows
from lstm_jax.predict.classification import Classifier
from lstm_jax.runs.directory import RunPaths
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.runs.metrics import Recorder, read_metrics, read_result
from lstm_jax.support.errors import UserError
from lstm_jax.tasks import make_task
from lstm_jax.tasks.text_classification import best_lengths, from_texts
from lstm_jax.training import loop, outcome

SIZES = {"train": 30, "valid": 9, "test": 11}


def texts(seed=0, longest=9):
    """Of ragged length, two of them empty; the label is decided by whether `a` comes before `b`."""
    rng = np.random.default_rng(seed)
    rows = {}
    for split, count in SIZES.items():
        rows[split] = []
        for number in range(count):
            words = list(
                rng.permutation(["a", "b", *(f"w{k}" for k in rng.integers(0, 6, rng.integers(longest - 2)))])
            )
            label = "first" if words.index("a") < words.index("b") else "second"
            text = "" if split != "valid" and number == 3 else f"{split}{number} {' '.join(words)}"
            rows[split].append(Row(text, label, f"{split}{number}"))
    return checked(rows, "whitespace", {})


def make(**changes):
    options = dict(min_count=1, lengths=3, batch=4, eval_batch=4, epochs=2, seed=0)
    return from_texts(texts(), **options | changes)


def read(task, split, first=0, last=None):
    last = (int(task.epoch_ends[0]) if split == "train" else task.steps[split]) if last is None else last
    for step in range(first, last):
        bucket = int(task.bucket(task.data, split, step))
        yield jax.tree.map(np.asarray, task.batch(task.data, split, step, bucket))


# ------------------------------------------------------------------ the task


def as_texts(task, batches):
    """(text, label) of every scored row, decoded; what stands past the length is padding."""
    found = []
    words, labels = task.encoder.vocabulary.tokens, task.encoder.labels
    for batch in batches:
        for b, length in enumerate(batch.lengths):
            assert not batch.inputs[length:, b].any() and (batch.inputs[:length, b] > 0).all()
            scored = np.flatnonzero(batch.weights[:, b])
            assert list(scored) == ([length - 1] if length else [])
            if length:
                line = [words[k] for k in batch.inputs[:length, b]]
                assert line.pop() == "<eos>"
                found.append((" ".join(line), labels[batch.targets[length - 1, b]]))
    return found


@pytest.mark.parametrize("split", SIZES)
def test_every_text_is_read_once_a_pass_with_its_label(split):
    task, rows = make(), texts().rows[split]
    known = set(task.encoder.vocabulary.tokens)
    expected = [(" ".join(w if w in known else "<unk>" for w in row.text.split()), row.label) for row in rows]
    assert Counter(as_texts(task, read(task, split))) == Counter(expected)
    if split == "train":
        ends = task.epoch_ends
        again = as_texts(task, read(task, split, ends[0], ends[1]))
        assert Counter(again) == Counter(expected)
        assert again != as_texts(task, read(task, split))  # in another order


def test_a_batch_has_the_least_of_a_few_lengths_that_holds_it():
    for count in (1, 2, 3):
        task = make(lengths=count)
        used = {split: set() for split in SIZES}
        for split in SIZES:
            assert len(task.buckets[split]) <= count
            for step, batch in enumerate(read(task, split)):
                fitting = [length for length in task.buckets[split] if length >= batch.lengths.max()]
                assert len(batch.inputs) == min(fitting)
                used[split].add(int(task.bucket(task.data, split, step)))
        assert used["valid"] == set(range(len(task.buckets["valid"])))
    assert make(lengths=3).facts["train_padding"] < make(lengths=1).facts["train_padding"] < 1


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_static_lengths_pad_the_least(most):
    lengths = np.random.default_rng(most).geometric(0.2, 50)
    possible = np.unique(lengths)

    def padded(static):
        return sum(min(s for s in static if s >= length) for length in lengths)

    best = min(
        padded((*some, possible[-1]))
        for few in range(min(most, len(possible)))
        for some in itertools.combinations(possible[:-1], few)
    )
    found = best_lengths(lengths, most)
    assert len(found) <= most and found[-1] == possible[-1] and list(found) == sorted(set(found))
    assert padded(found) == best


def test_neither_loss_nor_figures_depend_on_padding_or_batch():
    model = models.classifier(vocab=len(make().encoder.vocabulary), outputs=2, hidden=(3,), embedding=3,
                              directions=2, pooling="attention", init="uniform(0.7)")  # fmt: skip
    params = model.init(jax.random.key(0))
    figures = [
        evaluate.make_evaluator(make(lengths=lengths, eval_batch=rows), model, "test")(params)
        for lengths, rows in ((1, 11), (3, 4))
    ]
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)
    assert set(figures[0]) == {"nats", "accuracy", "macro_f1", "f1 first", "f1 second"}


def test_f1_is_exact_over_batches_and_macro_over_all_classes():
    task = make()
    rng = np.random.default_rng(0)
    sums, true, said = {}, [], []
    for batch in read(task, "test"):
        logits = rng.normal(size=(*batch.inputs.shape, 2)).astype(np.float32)
        for name, pair in task.metrics(logits, batch).items():
            sums[name] = sums.get(name, 0) + np.asarray(pair, np.float64)
        scored = batch.weights > 0
        true += list(batch.targets[scored])
        said += list(logits[scored].argmax(-1))
    figures = task.report({name: total / count for name, (total, count) in sums.items()})
    each = []
    for k, label in enumerate(task.encoder.labels):
        hits = sum(t == s == k for t, s in zip(true, said, strict=True))
        each.append(2 * hits / (true.count(k) + said.count(k)))
        assert figures[f"f1 {label}"] == pytest.approx(each[k])
    assert figures["macro_f1"] == pytest.approx(np.mean(each))
    assert len(true) == SIZES["test"]


def test_a_class_that_is_neither_there_nor_said_has_an_f1_of_0():
    rows = {**texts().rows}
    rows["train"] = [*rows["train"], Row("x", "never")]
    task = from_texts(checked(rows, "whitespace", {}), batch=4, eval_batch=11, lengths=1, epochs=1, seed=0)
    (batch,) = read(task, "test")
    logits = np.zeros((*batch.inputs.shape, 3), np.float32)
    logits[..., 0] = 1
    total, count = task.metrics(logits, batch)["f1 never"]
    assert float(total) / float(count) == 0
    assert task.facts["test_labels_missing"] == "'never'"


def test_unknown_words_empty_and_long_texts_are_told():
    facts = make(longest=5).facts
    assert facts["train_empty_texts"] == 1 and facts["valid_empty_texts"] == 0
    assert facts["train_unk_rate"] == 0 and facts["test_unk_rate"] > 0
    assert facts["train_texts_cut"] > 0 and make().facts["train_texts_cut"] == 0
    assert facts["train_texts"] == 30 and len(facts["fingerprint"]) == 12
    assert texts(seed=1).facts["fingerprint"] != texts().facts["fingerprint"]
    assert max(make(longest=5).buckets["train"]) == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(batch=0), "task.batch=0"),
        (dict(batch=31), "between 1 and 30"),
        (dict(eval_batch=0), "task.eval_batch=0"),
        (dict(min_count=0), "task.min_count=0"),
        (dict(longest=1), "task.longest=1"),
        (dict(lengths=0), "task.lengths=0"),
        (dict(epochs=0), "epochs=0"),
        (dict(splitter="words"), "unknown task.splitter 'words': .*allowed: whitespace"),
    ],
    ids=str,
)
def test_impossible_arguments_are_named(changes, said):
    with pytest.raises(UserError, match=said) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


def test_an_unknown_source_and_share_are_named():
    with pytest.raises(UserError, match="unknown source of labelled texts 'topic': did you mean 'topics'"):
        make_task("text_classification", source="topic", epochs=1, seed=0)
    with pytest.raises(UserError, match=r"task.held_out=0.5 is not possible"):
        make_task("text_classification", held_out=0.5, epochs=1, seed=0)


# ------------------------------------------------------------------ the encoder


@pytest.mark.parametrize("splitter", ["whitespace", "punctuation", "characters"])
def test_an_encoder_reads_alike_after_it_was_saved(splitter, tmp_path):
    made = encoders.build_encoder(["A b\nb", ""], ["x", "y"], splitter=splitter, lower=True, longest=4)
    encoders.write_encoder(made, tmp_path / "vocabulary.json")
    again = encoders.read_encoder(tmp_path / "vocabulary.json")
    assert again == made and made.vocabulary.tokens[0] == "<pad>" and made.labels == ("x", "y")
    for text in ("B a", "", "<pad> <unk> new", "b " * 9):
        one, other = made.encode(text), again.encode(text)
        np.testing.assert_array_equal(one.tokens, other.tokens)
        assert (one.tokens > 0).all() and 1 <= len(one.tokens) <= 4
        assert one.tokens[-1] == made.vocabulary.eos and one.unknown == other.unknown
    assert made.encode("").left_out == 0 and made.encode("b " * 9).left_out > 0


def test_unknown_words_are_given_as_they_are_read():
    made = encoders.build_encoder(["a b"], ["x"], splitter="whitespace", lower=True)
    assert made.encode("a Zebra b zebra <pad>").unknown == ("zebra", "<pad>")
    with pytest.raises(UserError, match="cannot read the vocabulary"):
        encoders.read_encoder("/nowhere/vocabulary.json")


def test_a_language_models_vocabulary_is_no_classifiers(tmp_path):
    encoders.write_vocabulary(encoders.build_vocabulary("a b\n", "whitespace"), tmp_path / "v.json")
    with pytest.raises(UserError, match="not a classifier's vocabulary: it lacks 'labels'"):
        encoders.read_encoder(tmp_path / "v.json")


# ------------------------------------------------------------------ splits and sources


def test_whole_documents_are_held_out_label_by_label():
    rng = np.random.default_rng(0)
    rows = [Row(f"t{n}", f"l{d % 3}", f"d{d}") for d in range(60) for n in range(rng.integers(1, 6))]
    parts = split_documents(rows, 0.1)
    documents = {split: {row.document for row in part} for split, part in parts.items()}
    assert not documents["train"] & documents["test"] and not documents["valid"] & documents["test"]
    assert not documents["train"] & documents["valid"]
    assert sorted(row for part in parts.values() for row in part) == sorted(rows)
    for split in ("valid", "test"):
        for label in ("l0", "l1", "l2"):
            share = np.mean([row.label == label for row in rows])
            assert 0.1 * share <= sum(row.label == label for row in parts[split]) / len(rows) <= 0.2 * share
    assert split_documents(rows, 0.1) == parts and split_documents(rows, 0.1, 1) != parts


def test_a_label_of_few_large_documents_is_in_every_split():
    rows = [
        Row("x", "l", document) for document, size in (("a", 50), ("b", 40), ("c", 30)) for _ in range(size)
    ]
    parts = split_documents(rows, 0.1)
    assert {split: {row.document for row in part} for split, part in parts.items()} == {
        "train": {"a"}, "valid": {"b"}, "test": {"c"},
    }  # fmt: skip


def test_training_has_every_label_of_our_own_split():
    """Rare labels stand in few documents, most of whose texts have another."""
    labels = {"d3": "rare", "d7": "rare", "d20": "once"}
    rows = [Row(f"{k}", "ab"[k % 2], f"d{k // 4}") for k in range(100)]
    rows += [Row(label, label, document) for document, label in labels.items()]
    held_out = set()
    for seed in range(30):
        parts = split_documents(rows, 0.15, seed)
        assert {row.label for row in parts["train"]} == {"a", "b", "rare", "once"}
        assert min(map(len, parts.values())) > 5
        held_out |= {row.label for row in parts["test"]}
    assert held_out == {"a", "b", "rare"}  # what training can spare is tested now and then


def test_no_text_is_in_two_splits_or_twice():
    parts = {"train": [Row("a", "x"), Row("b", "x"), Row("c", "x")], "valid": [Row("b", "x"), Row("d", "x")],
             "test": [Row("d", "x"), Row("d", "x")]}  # fmt: skip
    kept = {split: [row.text for row in part] for split, part in without_repeats(parts).items()}
    assert kept == {"train": ["a", "c"], "valid": ["b"], "test": ["d"]}


SOURCE = '''"""if this were code: or not"""
import os  # as is
def f(a, b=None):
    """Return it or not.

    A paragraph of a docstring that has more words than seven of them.
    """
    for name in sorted(a):  # and so on
        if name is not None and "is it" in a:
            return name.x
    x = 'not' or r"""
    while True"""
'''


def test_lines_of_code_and_the_word_that_is_blanked_out():
    found = list(keywords.texts_of(SOURCE))
    assert found == [
        ("___ name in sorted(a):", "for"),
        ('if name is not None ___ "" in a:', "and"),
        ("___ name.x", "return"),
        ('x = "" ___ r""', "or"),
    ]


def test_paragraphs_of_docstrings():
    assert list(topics.paragraphs(SOURCE)) == [
        "A paragraph of a docstring that has more words than seven of them."
    ]


@pytest.mark.parametrize("source", [keywords, topics])
def test_the_embedded_texts_hold_out_whole_modules(source, monkeypatch):
    some = [(path, text) for path, text in keywords.modules() if len(text) < 9_000]
    monkeypatch.setattr(source, "modules", lambda: iter(some))
    found = source.load(0.1, 0)
    documents = {split: {row.document for row in part} for split, part in found.rows.items()}
    texts = {split: {row.text for row in part} for split, part in found.rows.items()}
    for one, other in itertools.combinations(found.rows, 2):
        assert not documents[one] & documents[other] and not texts[one] & texts[other]
    assert min(map(len, found.rows.values())) > 20 and found.facts["python"] and found.facts["fingerprint"]
    assert len({row.label for row in found.rows["train"]}) >= 6


def write(directory, name, rows):
    path = directory / name
    if name.endswith("jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        separator = "," if name.endswith("csv") else "\t"
        lines = [separator.join(rows[0]), *(separator.join(map(str, row.values())) for row in rows)]
        path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n")  # as a spreadsheet writes it
    return path


ROWS = [{"text": f"some words {k}", "label": "xy"[k % 2], "of": f"d{k // 4}"} for k in range(40)]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_the_three_formats_say_the_same(ending, tmp_path):
    rows = read_rows(write(tmp_path, f"a.{ending}", ROWS), "text", "label", "of")
    assert [(row.text, row.label, row.document) for row in rows] == [tuple(row.values()) for row in ROWS]
    assert rows[1].place == f"{tmp_path}/a.{ending}, {'line' if ending == 'jsonl' else 'row'} 2"


def test_quotes_line_breaks_and_numbers(tmp_path):
    (tmp_path / "a.csv").write_text('\n \nlabel,text\n1,"one, ""two""\nthree"\n\n0,\n')
    assert [row[:2] for row in read_rows(tmp_path / "a.csv", "text", "label")] == [
        ('one, "two"\nthree', "1"), ("", "0"),
    ]  # fmt: skip
    (tmp_path / "a.tsv").write_text('label\ttext\nx\the said "hi\n')
    assert read_rows(tmp_path / "a.tsv", "text", "label")[0].text == 'he said "hi'
    (tmp_path / "a.jsonl").write_text('{"text": "t", "label": 3}\n\n')
    assert read_rows(tmp_path / "a.jsonl", "text", "label")[0].label == "3"


def test_a_text_without_a_document_is_its_own(tmp_path):
    lines = [{"text": f"t{k}", "label": "x", "of": of} for k, of in enumerate((None, None, "", " ", 0, "d"))]
    found = read_rows(write(tmp_path, "a.jsonl", lines), "text", "label", "of")
    assert [row.document for row in found] == ["t0", "t1", "t2", "t3", "0", "d"]


def test_one_file_is_split_by_documents_and_three_are_taken_as_they_are(tmp_path):
    path = write(tmp_path, "all.jsonl", ROWS)
    found = load(str(path), "text", "label", "of", 0.2, 0)
    documents = [{row.document for row in part} for part in found.rows.values()]
    assert not set.intersection(*documents) and sum(map(len, documents)) == 10
    for split in SIZES:
        write(tmp_path, f"{split}.csv", ROWS[:4])
    found = load(str(tmp_path), "text", "label", "", 0.2, 0)
    assert {split: len(part) for split, part in found.rows.items()} == dict.fromkeys(SIZES, 4)
    assert found.facts["test_texts_in_train"] == 4  # told, since the user may not know


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "x", "no known format: name it"),
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "text,label\n", "no rows below its header"),
        ("a.csv", ",,\n", "no rows below its header"),
        ("a.csv", "text,class\na,b\n", "row 1 has no column 'label', it has text, class"),
        ("a.csv", "text,label\na,b,c\n", "row 1 has 3 fields where the header has 2"),
        ("a.csv", "text,text,label\na,b,x\n", "a.csv has more than one column 'text'"),
        ("a.csv", 'text,label\n"a,b\n', "a.csv, line"),
        ("a.csv", "text,label\na, \n", "row 1: the label must be"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text"\n', "line 2 is not JSON"),
        (
            "a.jsonl",
            '\n{"text": "half \\ud800", "label": "x"}\n',
            "line 2: 'text' is not Unicode.* character 6",
        ),
        ("a.jsonl", '{"text": "a", "label": "\\udc00"}\n', "line 1: 'label' is not Unicode"),
        ("a.jsonl", '{"text": ' + "[" * 100_000 + "\n", "line 1 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("a.jsonl", '{"text": 1, "label": "x"}\n', "line 1: the text must be a string, not 1"),
        ("a.jsonl", '{"text": "a", "label": null}\n', "line 1: the label must be"),
        ("a.csv", "text,label\na,x\nb,y\n", "the valid split has no texts"),
        ("a.csv", "text,label\na,x\n", "all training texts have the one label 'x'"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(name, content, said, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        load(str(tmp_path / name), "text", "label", "", 0.1, 0)
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_fit_are_told(tmp_path, monkeypatch):
    for split, label in (("train", "x"), ("valid", "x"), ("test", "z")):
        write(tmp_path, f"{split}.csv", [{"text": "a", "label": label}, {"text": "b", "label": "x"}])
    with pytest.raises(UserError, match="all training texts have the one label 'x'"):
        load(str(tmp_path), "text", "label", "", 0.1, 0)
    write(tmp_path, "train.csv", [{"text": "a", "label": "y"}, {"text": "b", "label": "w"}])
    with pytest.raises(UserError, match=r"valid.csv, row 1: the label 'x' is none of .* are 'w', 'y', and"):
        load(str(tmp_path), "text", "label", "", 0.1, 0)
    for name, said in (
        ("no.csv", r"there is no file .*no\.csv"),
        ("no", "'.*no' does not exist: it should be"),
    ):
        with pytest.raises(UserError, match=said):
            load(str(tmp_path / name), "text", "label", "", 0.1, 0)
    os.remove(tmp_path / "test.csv")
    with pytest.raises(UserError, match=r"has no test.csv"):
        load(str(tmp_path), "text", "label", "", 0.1, 0)
    monkeypatch.delenv("LSTM_JAX_DATA", raising=False)
    with pytest.raises(UserError, match=r"task\.source=files needs texts"):
        load("", "text", "label", "", 0.1, 0)


def test_texts_of_unseen_labels_are_left_out_and_counted(caplog):
    rows = {
        "train": [Row("a", "x"), Row("b", "y")],
        "valid": [Row("c", "x")],
        "test": [Row("d", "y"), Row("e", "z"), Row("f", "z")],
    }
    found = checked(rows, "whitespace", {})
    assert [row.text for row in found.rows["test"]] == ["d"] and found.facts["test_texts"] == 1
    assert found.facts["test_texts_of_unseen_labels"] == "2 left out: 'z'"
    assert "left out 2 of the 3 texts of test" in caplog.text and "'z'" in caplog.text
    assert from_texts(found, batch=1, epochs=1, seed=0).facts["test_tokens"] == 2


def test_what_tfds_prepared_is_read():
    """The download itself needs a network; this is what follows it."""
    examples = [
        {"text": b"good<br />film", "label": np.int64(1)},
        {"text": b"bad", "label": np.int64(0)},
    ] * 20
    examples = [{**row, "text": row["text"] + b" %d" % k} for k, row in enumerate(examples)]
    builder = SimpleNamespace(
        info=SimpleNamespace(features={"label": SimpleNamespace(names=["neg", "pos"])}),
        as_data_source=lambda split: {"train": examples, "test": examples[:4]}[split],
        version="1.0.0",
        data_dir="/cache",
    )
    found = tfds_sets.labelled_texts(builder, "imdb_reviews", tfds_sets.SETS["imdb_reviews"].text, 0.1, 0)
    assert found.rows["test"][0][:2] == ("good\nfilm 0", "pos")
    assert [len(found.rows[split]) for split in SIZES] == [36, 4, 4]
    del examples[0]["label"]
    with pytest.raises(UserError, match="the prepared imdb_reviews in /cache cannot be read"):
        tfds_sets.labelled_texts(builder, "imdb_reviews", tfds_sets.SETS["imdb_reviews"].text, 0.1, 0)


# ------------------------------------------------------------------ a run, and what it left


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("labelled")
    for split, part in texts().rows.items():
        write(directory, f"{split}.jsonl", [{"text": row.text, "label": row.label} for row in part])
    return directory


def tiny(data):
    config = base.get_config("text_classification")
    config.task.update(source="files", data_dir=str(data), splitter="whitespace", batch=8, eval_batch=4,
                       lengths=2, min_count=1)  # fmt: skip
    config.model.update(name="classifier", hidden=(6,), embedding=6, directions=2, pooling="attention")
    config.model.dropout.update(input=0.1, output=0.1)
    config.objective.l2 = 1e-5
    config.optim.update(learning_rate=0.03, clip=1.0)
    config.train.update(epochs=4, steps_per_call=3, tensorboard=False)
    return config


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    loop.run(tiny(data), str(workdir))
    return workdir


def timeless(workdir):
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in read_metrics(workdir)]


def test_a_run_leaves_its_figures_and_its_reader(whole):
    result = read_result(whole)
    figures = result["figures"]["static"]["test"]
    assert {"nats", "accuracy", "macro_f1", "f1 first", "f1 second"} == set(figures)
    assert result["chance"]["macro_f1"] > 0 and result["facts"]["fingerprint"]
    assert json.loads((whole / "vocabulary.json").read_text())["labels"] == ["first", "second"]
    rows = [row for row in read_metrics(whole) if row["kind"] == "train"]
    assert rows[-1]["nats"] < rows[0]["nats"]


def test_resuming_equals_never_stopping(whole, data, tmp_path, monkeypatch):
    record = Recorder.write

    def interrupting(self, step, kind, **values):
        record(self, step, kind, **values)
        if kind == "train" and step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Recorder, "write", interrupting)
    with pytest.raises(Interrupted, match="stopped at step 6"):
        loop.run(tiny(data), str(tmp_path))
    monkeypatch.setattr(Recorder, "write", record)
    loop.run(tiny(data), str(tmp_path))
    assert timeless(tmp_path) == timeless(whole)
    assert read_result(tmp_path)["figures"] == read_result(whole)["figures"]
    jax.tree.map(np.testing.assert_array_equal, predict.Run(tmp_path).params, predict.Run(whole).params)


def contents(directory):
    return {
        path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != ".lock"
    }


def changed_texts(data, to, split, change):
    """A copy of the texts in which the first row of a split is another, as `change` of its fields says."""
    shutil.copytree(data, to)
    first, *others = (to / f"{split}.jsonl").read_text().splitlines()
    lines = [json.dumps(change(json.loads(first))), *others]
    (to / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return to


CHANGES = {
    "a token more": ("train", lambda row: row | {"text": row["text"] + " unheard"}, "tokens and now has"),
    "another token": ("train", lambda row: row | {"text": row["text"].replace("train0", "train!")}, "now is"),
    "a label more": ("train", lambda row: row | {"label": "third"}, "the label 'third' is new"),
    "another text": ("valid", lambda row: row | {"text": "a b"}, "their fingerprint was"),
}


@pytest.mark.parametrize("which", CHANGES)
def test_a_run_never_goes_on_with_other_texts(which, whole, data, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    before = contents(workdir)
    split, change, said = CHANGES[which]
    others = changed_texts(data, tmp_path / "texts", split, change)
    with pytest.raises(
        UserError, match=f"the texts have changed since .*{said}.* another workdir"
    ) as refusal:
        loop.run(tiny(others), str(workdir))
    assert "\n" not in str(refusal.value)
    assert contents(workdir) == before


def test_what_has_no_checkpoint_yet_may_begin_with_other_texts(tmp_path):
    task, paths = make(), RunPaths(tmp_path)
    encoders.write_encoder(make(min_count=3).encoder, paths.vocabulary)
    outcome.check_texts(task, paths)
    (paths.checkpoints / "latest" / "3").mkdir(parents=True)
    with pytest.raises(UserError, match="texts have changed"):
        outcome.check_texts(task, paths)


def test_predicting_needs_the_runs_directory_alone(whole, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(whole, moved)
    config = json.loads((moved / "config.json").read_text())
    config["task"]["data_dir"] = "/nowhere"
    (moved / "config.json").write_text(json.dumps(config))
    found = Classifier(moved)
    rows = texts().rows["test"]
    predictions = found.predict([row.text for row in rows])
    for label, probabilities in predictions:
        assert sum(probabilities.values()) == pytest.approx(1)
        assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
        assert label == next(iter(probabilities)) and set(probabilities) == set(found.labels)
    figures = read_result(whole)["figures"]["static"]["test"]
    right = np.mean([one.label == row.label for one, row in zip(predictions, rows, strict=True)])
    assert right == pytest.approx(figures["accuracy"])
    nats = np.mean([-np.log(p.probabilities[r.label]) for p, r in zip(predictions, rows, strict=True)])
    assert nats == pytest.approx(figures["nats"], rel=1e-5)


def test_a_text_is_answered_alike_in_any_company(whole):
    found = Classifier(predict.Run(whole))
    (alone,) = found.predict(["a w1 b"])
    many = found.predict(["", "w2 " * 40, *["b a"] * 33, "a w1 b"])
    assert len(many) == 36 and found.predict([]) == []
    assert many[-1].probabilities == pytest.approx(alone.probabilities, rel=1e-5)
    assert all(np.isfinite(list(one.probabilities.values())).all() for one in many)  # the empty text too
    assert found.unknown("a zebra") == ("zebra",)


def test_what_is_no_classifier_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"task": {"name": "parity"}}))
    with pytest.raises(UserError, match="run of the task 'parity', which labels no texts"):
        Classifier(tmp_path)


def test_confusion_and_calibration_are_of_the_runs_own_figures(whole):
    run = predict.Run(whole)
    figures = read_result(whole)["figures"]["static"]["test"]
    options = Options(split="test", tokens=1)  # the whole split all the same
    written = instruments.measure_and_write(run, "confusion", options)
    found = json.loads(written.files[-1].read_text())
    assert found["accuracy"] == pytest.approx(figures["accuracy"], rel=1e-5)
    assert found["macro_f1"] == pytest.approx(figures["macro_f1"], rel=1e-5)
    assert np.sum(found["matrix"]) == SIZES["test"] and found["labels"] == ["first", "second"]
    assert found["classes"]["first"]["f1"] == pytest.approx(figures["f1 first"], rel=1e-5)
    found = json.loads(instruments.measure_and_write(run, "calibration", options).files[-1].read_text())
    assert found["mean_accuracy"] == pytest.approx(figures["accuracy"], rel=1e-5) and 0 <= found["ece"] <= 1
    taken, left = instruments.chosen(run, ["all"])
    assert {"gates", "timescales", "saturation", "confusion"} <= set(taken) and "context" in left
    assert instruments.measure_and_write(run, "gates", Options(tokens=20)).lines
    lines = instruments.measure_and_write(run, "gates", Options(tokens=20, text="a zebra b")).lines
    assert "'zebra'" in lines[0] and lines[1] == "4 steps: a <unk> b <eos>"


def test_very_many_labels_get_a_calibration_and_the_reason_why_no_map(tmp_path, monkeypatch, capsys):
    workdir = write_label_run(tmp_path)
    monkeypatch.setattr("lstm_jax.analysis.instruments.answers.MOST_CLASSES", 2)
    monkeypatch.setattr("lstm_jax.cli.config_and_workdir", lambda: (None, str(workdir)))
    monkeypatch.setattr(loop, "run", lambda config, workdir: None)
    classify.main([])
    said = capsys.readouterr().out
    assert "left out confusion: its 3 classes are more than the 2 that a map can show\n" in said
    assert "expected calibration error" in said and (workdir / "analysis" / "calibration.png").exists()
    assert not (workdir / "analysis" / "confusion.png").exists()


def test_any_model_can_be_trained_on_it():
    """The one target stands at the last real step: the recurrent model reads it there."""
    task = make(lengths=1, eval_batch=11)
    model = models.recurrent(vocab=task.vocab, outputs=2, hidden=(3,), embedding=3, init="uniform(0.7)")
    params = model.init(jax.random.key(0))
    (batch,) = read(task, "test")
    same = models.classifier(vocab=task.vocab, outputs=2, hidden=(3,), embedding=3)

    @jax.jit
    def both(params, batch):
        inputs, lengths = batch.inputs, batch.lengths
        plain = model.apply(params, inputs, model.carry(params, 11), lengths=lengths)
        return [
            task.metrics(out.logits, batch)["nats"][0]
            for out in (plain, same.apply(params, inputs, (), lengths=lengths))
        ]

    one, two = both(params, jax.tree.map(jnp.asarray, batch))
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_a_classifier_takes_a_list_of_strings_and_is_pickled_by_its_directory(whole):
    found = Classifier(whole)
    for wrong in ("a w1 b", None, [None], [b"a"]):
        with pytest.raises(UserError, match="texts must be a list of strings"):
            found.predict(wrong)
    back = pickle.loads(pickle.dumps(found))
    assert back.predict(["a w1 b"]) == found.predict(["a w1 b"])
