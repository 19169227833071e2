import gzip
import hashlib
import itertools
import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_jax import corpora
from lstm_jax.corpora import (
    CORPORA,
    baselines,
    build_corpus,
    ptb,
    pydoc,
    read_vocabulary,
    write_vocabulary,
)
from lstm_jax.corpora.baselines import bigram_nats, unigram_nats
from lstm_jax.corpora.penn_treebank import checksums
from lstm_jax.corpora.reading import read_text
from lstm_jax.corpora.vocabulary import SPLITTERS, build_vocabulary
from lstm_jax.support.errors import UserError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
PTB = Path(os.environ.get("LSTM_JAX_DATA") or SHARED)
needs_ptb = pytest.mark.skipif(
    not (PTB / "ptb.train.txt").is_file(), reason="needs Penn Treebank in LSTM_JAX_DATA or ../shared/data"
)
SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """No test sees the user's data directory or writes the user's cache."""
    monkeypatch.delenv("LSTM_JAX_DATA", raising=False)
    monkeypatch.setenv("LSTM_JAX_CACHE", str(tmp_path / "cache"))


def write(directory, train="a b\na b\n", valid="a\n", test="b\n", name="{}.txt"):
    directory.mkdir(exist_ok=True)
    for split, content in zip(SPLITS, (train, valid, test), strict=True):
        if content is not None:
            path = directory / name.format(split)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(directory)


def one_line(error):
    message = str(error.value)
    assert message and "\n" not in message
    return message


# Vocabulary


def test_vocabulary_is_ordered_by_frequency_then_alphabet():
    vocabulary = build_vocabulary("b c\nb a\nd c b\nx\n", "whitespace", min_count=1)
    assert vocabulary.tokens == ("<eos>", "b", "c", "a", "d", "x")
    assert vocabulary.eos == 0 and vocabulary.unk is None and len(vocabulary) == 6
    # x, d and a occur once each: <unk> has their joint count of 3, as b has; "<" sorts before letters.
    rare = build_vocabulary("b c\nb a\nd c b\nx\n", "whitespace", min_count=2)
    assert rare.tokens == ("<eos>", "<unk>", "b", "c")
    assert build_vocabulary("abca\nb", "characters").tokens == ("a", "b", "\n", "c")


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_a_token_without_training_example_is_never_in_the_vocabulary(splitter):
    text = "a b\na b\n"  # nothing is rare, so nothing teaches <unk>
    assert build_vocabulary(text, splitter, min_count=2).unk is None
    assert "<unk>" not in build_vocabulary(text, splitter, min_count=2).tokens


def test_a_written_unk_is_that_token_and_never_rare():
    vocabulary = build_vocabulary("a a <unk> b b\n", "whitespace", min_count=2)
    assert vocabulary.unk is not None
    assert vocabulary.encode("zzz <unk>").tolist() == [vocabulary.unk] * 2


@pytest.mark.parametrize(
    "splitter, text, tokens",
    [
        ("whitespace", "the  cat\n\n sat. \n", ["the", "cat", "<eos>", "<eos>", "sat.", "<eos>"]),
        (
            "punctuation",
            "f(x)==y... don't\n<unk>",
            ["f", "(", "x", ")", "==", "y", "...", "don", "'", "t", "<eos>", "<unk>"],
        ),
        ("characters", "a b\n", ["a", " ", "b", "\n"]),
    ],
)
def test_every_line_break_is_one_end_of_line(splitter, text, tokens):
    vocabulary = build_vocabulary(text, splitter)
    numbers = vocabulary.encode(text)
    assert numbers.dtype == np.int32
    assert [vocabulary.tokens[n] for n in numbers] == tokens
    assert (numbers == vocabulary.eos).sum() == text.count("\n")


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="ab. '=(\n<", max_size=30), st.sampled_from(sorted(SPLITTERS)))
def test_decoded_text_encodes_to_the_same_tokens(text, splitter):
    vocabulary = build_vocabulary(text + "\n", splitter)
    numbers = vocabulary.encode(text)
    assert vocabulary.encode(vocabulary.decode(numbers)).tolist() == numbers.tolist()
    if splitter == "characters":
        assert vocabulary.decode(numbers) == text


def test_decode_breaks_lines():
    vocabulary = build_vocabulary("a b\nc\n", "whitespace")
    assert vocabulary.decode(vocabulary.encode("a b\nc a\n")) == "a b\nc a\n"


def test_unknown_characters_are_unk_at_any_code_point():
    vocabulary = build_vocabulary("aab\n", "characters", min_count=2)
    numbers = vocabulary.encode("aé\U0001f600b")
    assert numbers.tolist() == [vocabulary.index["a"]] + [vocabulary.unk] * 3
    assert vocabulary.encode("").shape == (0,)


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_vocabulary_survives_its_file(tmp_path, splitter):
    vocabulary = build_vocabulary('é "quoted"\\ \u2028 <unk> 1\n', splitter)
    write_vocabulary(vocabulary, tmp_path / "vocabulary.json")
    again = read_vocabulary(tmp_path / "vocabulary.json")
    assert again == vocabulary and again.index == vocabulary.index


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "cannot read the vocabulary .*No such file"),
        ("nonsense", "is not a vocabulary"),
        ("{}", "expected the format"),
        ("[1]", "expected the format"),
        (
            '{"format": "lstm_jax vocabulary 1", "splitter": "chars", "tokens": ["a"]}',
            "did you mean 'characters'",
        ),
        ('{"format": "lstm_jax vocabulary 1", "splitter": "characters"}', "lacks 'tokens'"),
    ],
)
def test_a_wrong_vocabulary_file_is_named(tmp_path, content, message):
    path = tmp_path / "vocabulary.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        read_vocabulary(path)
    one_line(error)


# Text files


@pytest.mark.parametrize("level", corpora.LEVELS)
def test_text_directory(tmp_path, level):
    directory = write(tmp_path / "d", "b a a\nb c\n", "a c\n", "b\n\nb")
    corpus = corpora.load("text", directory, level)
    assert corpus.name == "text" and corpus.vocabulary.level == level
    v = corpus.vocabulary
    if level == "word":
        assert v.tokens == ("<eos>", "a", "b", "<unk>")
        assert v.decode(corpus.tokens["valid"]) == "a <unk>\n"
        assert corpus.facts["valid_unk_rate"] == pytest.approx(1 / 3)
        assert corpus.facts["train_unk_rate"] == pytest.approx(1 / 7)
    else:
        assert v.decode(corpus.tokens["train"]) == "b a a\nb <unk>\n"
    assert v.decode(corpus.tokens["test"]) == "b\n\nb\n"  # the last line is closed though the file does not
    for split, tokens in corpus.tokens.items():
        assert tokens.dtype == np.int32 and tokens.ndim == 1
        assert corpus.facts[f"{split}_tokens"] == len(tokens)


def test_only_the_training_split_makes_the_vocabulary(tmp_path):
    train = "a a b b z\n"
    first = corpora.load("text", write(tmp_path / "1", train, "a\n", "b\n"))
    second = corpora.load("text", write(tmp_path / "2", train, "q q q\n", "r r r\n"))
    assert first.vocabulary == second.vocabulary


def test_prepared_text_keeps_its_rare_words(tmp_path):
    corpus = corpora.load("text", write(tmp_path / "d", "once <unk>\n", "once\n", "new\n"))
    assert "once" in corpus.vocabulary.tokens
    assert corpus.facts["valid_unk_rate"] == 0 and corpus.facts["test_unk_rate"] == 0.5


def test_data_dir_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_JAX_DATA", write(tmp_path / "d"))
    assert corpora.load("text").facts["train_tokens"] == 6


def test_line_ends_and_byte_order_mark_are_no_tokens(tmp_path):
    plain = corpora.load("text", write(tmp_path / "1"), "char")
    marked = corpora.load(
        "text", write(tmp_path / "2", b"\xef\xbb\xbfa b\r\na b\r\n", "a\r\n", "b\r\n"), "char"
    )
    assert plain.vocabulary == marked.vocabulary
    assert all((plain.tokens[s] == marked.tokens[s]).all() for s in SPLITS)


@pytest.mark.parametrize(
    "files, level, message",
    [
        (dict(valid=None), "word", r"has no valid\.txt: .*\{train,valid,test\}\.txt"),
        (dict(test=" \n\n"), "word", r"test\.txt is empty"),
        (dict(train=b""), "word", r"train\.txt is empty"),
        (dict(train=b"ab\xff c"), "word", r"train\.txt is not UTF-8: byte 0xff at offset 2"),
        (
            dict(valid="a q\n"),
            "word",
            r"valid split of 'text', line 1: token 'q' .*has no <unk>.*write <unk>",
        ),
        (dict(test="a\nb\nq\n"), "char", r"test split of 'text', line 3: token 'q'"),
    ],
)
def test_wrong_text_files_are_named(tmp_path, files, level, message):
    with pytest.raises(UserError, match=message) as error:
        corpora.load("text", write(tmp_path / "d", **files), level)
    one_line(error)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("text", "", "word"), "needs a directory .*task.data_dir or the environment variable LSTM_JAX_DATA"),
        (("text", "/no/such/place", "word"), "'/no/such/place' does not exist"),
        (("ptb", "/no/such/place", "word"), r"does not exist: .*ptb\.\{train,valid,test\}\.txt or"),
        (("pbt", "", "word"), "unknown corpus 'pbt': did you mean 'ptb'"),
        (("pydoc", "", "chars"), "unknown level 'chars': did you mean 'char'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        corpora.load(*arguments)
    one_line(error)


def test_an_unreadable_file_is_named(tmp_path):
    directory = write(tmp_path / "d", valid=None)
    (tmp_path / "d" / "valid.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"has no valid\.txt"):
        corpora.load("text", directory)


def test_an_empty_split_is_named():
    with pytest.raises(UserError, match="valid split of the corpus 'x' is empty"):
        build_corpus("x", {"train": "a\n", "valid": "", "test": "a\n"}, splitter="whitespace")


# The embedded corpus


@pytest.mark.parametrize("level", corpora.LEVELS)
def test_embedded_corpus_leaks_no_line(level):
    corpus = corpora.load("pydoc", "", level)
    again = corpora.load("pydoc", "/ignored", level)
    assert again.vocabulary == corpus.vocabulary
    assert all((again.tokens[s] == corpus.tokens[s]).all() for s in SPLITS)
    assert corpus.vocabulary.unk is not None
    from pydoc_data.topics import topics

    texts = pydoc.split_topics(topics)
    lines = {split: {" ".join(line.split()) for line in texts[split].split("\n")} - {""} for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not lines[one] & lines[other]
    sizes = {split: corpus.facts[f"{split}_tokens"] for split in SPLITS}
    total = sum(sizes.values())
    assert 0.7 < sizes["train"] / total < 0.85
    assert min(sizes["valid"], sizes["test"]) / total > 0.08
    assert max(corpus.facts["valid_unk_rate"], corpus.facts["test_unk_rate"]) < 0.1


def test_topics_are_held_out_whole_and_lines_shared_with_them_do_not_train():
    topics = {f"topic {i}": f"shared by all\n  own line {i}\n=====\n\nanother of {i}" for i in range(40)}
    texts = pydoc.split_topics(topics)
    own = {split: set(re.findall(r"own line (\d+)$", texts[split], re.MULTILINE)) for split in SPLITS}
    other = {split: set(re.findall(r"another of (\d+)$", texts[split], re.MULTILINE)) for split in SPLITS}
    assert own == other  # a topic is in one split, with all its lines
    assert sum(map(len, own.values())) == 40 and all(len(own[s]) >= 4 for s in ("valid", "test"))
    assert "shared" in texts["test"] and "shared" not in texts["valid"] + texts["train"]
    assert "==" not in "".join(texts.values())
    # The order in which a Python version lists its topics does not matter.
    assert pydoc.split_topics({name: topics[name] for name in reversed(topics)}) == texts


def test_a_python_without_pydoc_data_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data", None)
    with pytest.raises(UserError, match="comes without pydoc_data") as error:
        corpora.load("pydoc")
    one_line(error)


# Baselines


def loop_bigram(corpus, split, weight):
    """Interpolated bigram by dictionaries and loops."""
    train, eos = corpus.tokens["train"].tolist(), corpus.vocabulary.eos
    pair, context, word = {}, {}, {}
    for v, w in zip([eos, *train[:-1]], train, strict=True):
        pair[v, w] = pair.get((v, w), 0) + 1
        context[v] = context.get(v, 0) + 1
        word[w] = word.get(w, 0) + 1
    total = 0.0
    tokens = corpus.tokens[split].tolist()
    for v, w in zip([eos, *tokens[:-1]], tokens, strict=True):
        unigram = word[w] / len(train)
        bigram = pair.get((v, w), 0) / context[v] if v in context else unigram
        total -= math.log(weight * bigram + (1 - weight) * unigram)
    return total / len(tokens)


@pytest.mark.parametrize("large", [False, True], ids=["dense counts", "sorted counts"])
def test_baselines_equal_counting_by_loops(large, monkeypatch):
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(2100 if large else 9)]  # above 2048 words pairs are sorted, not binned
    text = lambda n: " ".join(rng.choice(words[:9], n)) + "\n"  # noqa: E731
    texts = {"train": text(300) + " ".join(words) + "\nend", "valid": text(60) + "end w1\n", "test": text(50)}
    corpus = build_corpus("x", texts, splitter="whitespace")
    nats, weight = bigram_nats(corpus)
    for split in ("valid", "test"):
        np.testing.assert_allclose(nats[split], loop_bigram(corpus, split, weight), rtol=1e-12)
        np.testing.assert_allclose(unigram_nats(corpus, split), loop_bigram(corpus, split, 0.0), rtol=1e-12)
    grid = [loop_bigram(corpus, "valid", a) for a in np.linspace(0, 0.99, 100)]
    assert 0 < weight < 1
    assert nats["valid"] <= min(grid) + 1e-9  # no weight on the grid does better on valid
    figures = baselines(corpus)
    assert figures["uniform_perplexity"] == len(corpus.vocabulary)
    assert figures["test_bigram_perplexity"] == pytest.approx(math.exp(nats["test"]))
    assert figures["valid_unigram_perplexity"] == pytest.approx(math.exp(unigram_nats(corpus, "valid")))


@pytest.mark.parametrize("name", sorted(set(CORPORA) - {"ptb", "text"}))
@pytest.mark.parametrize("level", corpora.LEVELS)
def test_counting_beats_guessing(name, level):
    figures = baselines(corpora.load(name, "", level))
    for split in ("valid", "test"):
        ranks = [figures[f"{split}_{kind}_perplexity"] for kind in ("bigram", "unigram")]
        assert 1 < ranks[0] < ranks[1] < figures["uniform_perplexity"]


# Penn Treebank


@pytest.fixture
def registered(monkeypatch, tmp_path):
    """Three small files registered in Penn Treebank's place, so that its whole route runs without it."""
    builder_module = pytest.importorskip("lstm_jax.corpora.penn_treebank.penn_treebank_dataset_builder")
    import tensorflow_datasets as tfds

    texts = {"train": " a <unk> b \n a b \n", "valid": " b \n", "test": " a \n b \n"}
    directory = tmp_path / "data"
    write(directory, *texts.values(), name="ptb.{}.txt")
    entries = []
    for split in SPLITS:
        content = texts[split].encode()
        url = f"https://example.invalid/ptb.{split}.txt"
        entries.append(
            checksums.Entry(url, len(content), hashlib.sha256(content).hexdigest(), f"ptb.{split}.txt")
        )
    infos = {
        e.url: tfds.download.checksums.UrlInfo(
            size=tfds.core.utils.Size(e.size), checksum=e.sha256, filename=e.filename
        )
        for e in entries
    }
    monkeypatch.setattr(ptb, "read_checksums", lambda: entries)
    monkeypatch.setattr(builder_module, "read_checksums", lambda: entries)
    monkeypatch.setattr(builder_module.Builder, "url_infos", infos)
    monkeypatch.setattr(ptb, "TOKENS", {"train": 7, "valid": 2, "test": 4})
    monkeypatch.setattr(ptb, "VOCABULARY", 4)
    return directory, builder_module


def test_ptb_route(registered, tmp_path, capsys):
    directory, module = registered
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    corpus = corpora.load("ptb", str(directory))
    assert module.Builder.name == "penn_treebank"
    assert (tmp_path / "cache" / "tfds" / "penn_treebank" / "1.0.0" / "dataset_info.json").is_file()
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    assert corpus.vocabulary.decode(corpus.tokens["train"]) == "a <unk> b\na b\n"
    assert corpus.facts["train_unk_rate"] == pytest.approx(1 / 7)
    cached = corpora.load("ptb", "")  # prepared once, it needs neither directory nor network
    assert all((cached.tokens[s] == corpus.tokens[s]).all() for s in SPLITS)
    characters = corpora.load("ptb", "", "char")
    assert characters.vocabulary.decode(characters.tokens["train"]) == "a <unk> b\na b\n"
    assert len(characters.tokens["train"]) == len("a <unk> b\na b\n")  # <unk> is spelt out
    assert capsys.readouterr() == ("", "")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith("tmp")]


def test_ptb_takes_the_other_names(registered, tmp_path):
    directory, _ = registered
    for split in SPLITS:
        (directory / f"ptb.{split}.txt").rename(directory / f"{split}.txt")
    assert len(corpora.load("ptb", str(directory)).tokens["test"]) == 4


@pytest.mark.parametrize("prepared", [False, True])
def test_ptb_of_other_content_is_refused(registered, prepared):
    directory, _ = registered
    if prepared:
        corpora.load("ptb", str(directory))
    (directory / "ptb.valid.txt").write_text(" a \n")
    with pytest.raises(
        UserError, match=r"ptb\.valid\.txt is not the Penn Treebank valid split: .*task.corpus=text"
    ) as e:
        corpora.load("ptb", str(directory))
    one_line(e)


def test_ptb_with_a_missing_file(registered):
    directory, _ = registered
    (directory / "ptb.test.txt").unlink()
    with pytest.raises(UserError, match=r"has no ptb\.test\.txt") as error:
        corpora.load("ptb", str(directory))
    one_line(error)


def test_ptb_whose_splits_do_not_belong_together(registered, monkeypatch):
    monkeypatch.setattr(
        ptb, "_prepared_texts", lambda files: {"train": "a <unk>\n", "valid": "a\na q\n", "test": "a\n"}
    )
    with pytest.raises(
        UserError, match=r"valid split of 'ptb', line 2: token 'q' .*belong together"
    ) as error:
        corpora.load("ptb", "")
    one_line(error)


def test_ptb_without_directory_and_network(registered, monkeypatch):
    _, module = registered

    def fail(*args, **kwargs):
        raise module.requests.ConnectionError("Name or\nservice not known " + "x" * 500)

    monkeypatch.setattr(module.requests, "head", fail)
    with pytest.raises(
        UserError, match=r"could not be downloaded \(Name or service.*\.\.\.\): give task.data_dir"
    ) as e:
        corpora.load("ptb", "")
    assert len(one_line(e)) < 400


def test_ptb_download_of_something_else(registered, monkeypatch):
    _, module = registered

    def fail(self, **kwargs):
        raise module.NonMatchingChecksumError("url", "path")

    class Reached:
        def raise_for_status(self): ...

    monkeypatch.setattr(module.requests, "head", lambda *args, **kwargs: Reached())
    monkeypatch.setattr(module.Builder, "download_and_prepare", fail)
    with pytest.raises(UserError, match="could not be downloaded"):
        corpora.load("ptb", "")


def test_ptb_with_a_damaged_cache(registered, tmp_path):
    directory, _ = registered
    corpora.load("ptb", str(directory))
    for path in (tmp_path / "cache").rglob("*.array_record*"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot be read .*delete that directory") as error:
        corpora.load("ptb", str(directory))
    one_line(error)


def test_ptb_with_an_unwritable_cache(registered, tmp_path, monkeypatch):
    directory, _ = registered
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LSTM_JAX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"cannot write to the cache .*LSTM_JAX_CACHE") as error:
        corpora.load("ptb", str(directory))
    one_line(error)


def test_ptb_is_registered_with_tfds():
    """checksums.tsv says what TFDS reads from it, and nothing of the text itself is in the package."""
    module = pytest.importorskip("lstm_jax.corpora.penn_treebank.penn_treebank_dataset_builder")
    infos = module.Builder.url_infos
    entries = checksums.read_checksums()
    assert [entry.filename for entry in entries] == [f"ptb.{split}.txt" for split in SPLITS]
    for entry in entries:
        info = infos[entry.url]
        assert (int(info.size), info.checksum, info.filename) == (entry.size, entry.sha256, entry.filename)
    package = Path(checksums.__file__).parent
    assert {path.suffix for path in package.iterdir() if path.is_file()} == {".py", ".tsv"}


@needs_ptb
def test_ptb_counts_and_perplexities():
    """RECIPES 0: 929,589 / 73,760 / 82,430 tokens, 10,000 words; unigram 687.0 valid, 639.3 test."""
    corpus = corpora.load("ptb", str(PTB))
    assert {s: len(t) for s, t in corpus.tokens.items()} == {"train": 929589, "valid": 73760, "test": 82430}
    assert len(corpus.vocabulary) == 10000
    assert corpus.vocabulary.tokens[:3] == ("the", "<unk>", "<eos>")
    figures = baselines(corpus)
    assert figures["valid_unigram_perplexity"] == pytest.approx(687.0, abs=0.05)
    assert figures["test_unigram_perplexity"] == pytest.approx(639.3, abs=0.05)
    characters = corpora.load("ptb", str(PTB), "char")
    assert {s: len(t) for s, t in characters.tokens.items()} == {
        "train": 5017482,
        "valid": 393042,
        "test": 442423,
    }
    assert len(characters.vocabulary) == 50


def test_a_line_that_ends_in_eos_has_one_end():
    plain, written = "the cat\na dog\n", "the cat <eos>\na dog <eos> \n"
    for splitter in ("whitespace", "punctuation"):
        tokens = [list(SPLITTERS[splitter](text)) for text in (plain, written)]
        assert tokens[0] == tokens[1]


NOT_TEXT = {
    "gzip": (gzip.compress(b"a b"), "compressed by gzip: unpack it with gunzip"),
    "utf16": ("a b".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 x.txt"),
    "latin1": ("caf\u00e9".encode("latin-1"), "iconv -f LATIN1 -t UTF-8 x.txt"),
    "utf16le": ("a b".encode("utf-16-le"), "has a NUL character at 1"),
}


@pytest.mark.parametrize("kind", NOT_TEXT)
def test_what_is_no_utf8_text_is_named(kind, tmp_path):
    data, message = NOT_TEXT[kind]
    (tmp_path / "x.txt").write_bytes(data)
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        read_text(tmp_path / "x.txt")
    assert "\n" not in str(raised.value)
