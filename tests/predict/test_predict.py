"""Sampling and scoring: against the model's own logits, the static evaluator, and the rules of sampling."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import models, predict
from lstm_jax.corpora.vocabulary import Vocabulary, build_vocabulary, write_vocabulary
from lstm_jax.predict import language_model, reading, sampling, standard_input
from lstm_jax.predict.text import describe_unknown, readable
from lstm_jax.support.errors import UserError

ROOT = Path(__file__).parents[2]
TEXT = "the cat sat on the mat\nthe dog <unk> the cat\na dog sat , too\n"
SECTION = {
    "hidden": [6],
    "embedding": 5,
    "init": "uniform(0.9)",
    "cell": {"name": "lstm", "forget_bias": "1"},
    "dropout": {"output": 0.5, "weight": 0.5},
}


def make(vocabulary: Vocabulary) -> predict.LanguageModel:
    model = models.recurrent(vocab=len(vocabulary), outputs=len(vocabulary), **SECTION)
    return predict.LanguageModel(model, model.init(jax.random.key(1)), vocabulary)


@pytest.fixture(scope="module")
def words():
    return make(build_vocabulary(TEXT, "whitespace"))


@pytest.fixture(scope="module")
def characters():
    return make(build_vocabulary("hello world\nheld\n", "characters"))


def teacher_forced(lm, numbers):
    """Log-probabilities [N, V] after each of [eos, *numbers], in one pass, in float64."""
    inputs = jnp.asarray([lm.vocabulary.eos, *numbers])[:, None]
    logits = lm.model.apply(lm.params, inputs, lm.model.carry(lm.params, 1)).logits[:, 0]
    return np.asarray(jax.nn.log_softmax(logits), np.float64)


def numbers_of(lm, tokens):
    return [lm.vocabulary.index[token] for token in tokens]


# ------------------------------------------------------------------ generation


@pytest.mark.parametrize("prompt", ["", "the cat", "the dog sat on the mat\na"])
def test_greedy_is_the_argmax_of_the_teacher_forced_logits(words, prompt):
    (sample,) = words.generate(prompt, 12, temperature=0)
    assert list(sample.prompt) == prompt.replace("\n", " <eos> ").split()
    read = numbers_of(words, sample.prompt + sample.tokens)
    log_probs = teacher_forced(words, read)[len(sample.prompt) : -1]
    log_probs[:, words.vocabulary.unk] = -np.inf
    assert numbers_of(words, sample.tokens) == log_probs.argmax(axis=1).tolist()


def test_a_long_prompt_goes_through_whole(words, monkeypatch):
    """Blocks of the prompt and of the continuation change nothing."""
    prompt = " ".join(["the cat sat on a dog"] * 3)
    whole = words.generate(prompt, 9, seed=3)
    monkeypatch.setattr(language_model, "BLOCK", 4)
    assert make(words.vocabulary).generate(prompt, 9, seed=3) == whole


@pytest.mark.parametrize(
    "options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-7}, {"temperature": 1e-4}]
)
def test_what_is_greedy_in_the_limit(words, options):
    greedy = words.generate("the", 20, temperature=0)
    assert words.generate("the", 20, seed=5, **options) == greedy


def test_seeds_and_samples(words):
    three = words.generate("the", 20, seed=7, samples=3)
    assert words.generate("the", 20, seed=7, samples=2) == three[:2]
    assert words.generate("the", 20, seed=7, top_k=1000) == three[:1]  # a restriction to everything
    longer = words.generate("the", 70, seed=7)[0]
    assert longer.tokens[:20] == three[0].tokens
    assert len({sample.tokens for sample in three}) == 3
    assert words.generate("the", 20, seed=8)[0].tokens != three[0].tokens


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_follow_the_softmax(words, temperature):
    """First tokens of many samples against softmax(logits / temperature): Pearson's chi-square."""
    count = 4000
    first = [s.tokens[0] for s in words.generate("the", 1, temperature=temperature, samples=count, seed=11)]
    found = np.bincount(numbers_of(words, first), minlength=len(words.vocabulary))
    logits = teacher_forced(words, numbers_of(words, ["the"]))[-1] / temperature
    logits[words.vocabulary.unk] = -np.inf
    expected = count * np.exp(logits) / np.exp(logits).sum()
    assert found[words.vocabulary.unk] == 0
    used = expected > 0
    chi_square = np.sum((found[used] - expected[used]) ** 2 / expected[used])
    # 9 degrees of freedom: the seed is fixed, and 34 is passed by chance once in ten thousand
    assert used.sum() == 10 and chi_square < 34


def test_unknown_may_be_allowed(words):
    drawn = words.generate("", 1, temperature=5.0, samples=300, allow_unknown=True)
    assert any(sample.tokens == ("<unk>",) for sample in drawn)


def test_unknown_words_of_the_prompt_are_reported(words):
    (sample,) = words.generate("The cat saw The mat", 3)
    assert sample.unknown == ("The", "saw")
    assert sample.prompt == ("<unk>", "cat", "<unk>", "<unk>", "mat")
    raised = describe_unknown(words.vocabulary, sample.unknown)
    assert "'The', 'saw'" in raised and "known in lower case: 'the'" in raised


def test_unknown_without_a_stand_in_is_an_error(characters):
    with pytest.raises(UserError, match=r"the prompt: the model does not know 'X', '!'"):
        characters.generate("heX!", 3)


def test_restrict():
    logits = jnp.log(jnp.asarray([0.1, 0.4, 0.2, 0.3]))

    def kept(top_k, top_p):
        return np.flatnonzero(np.isfinite(sampling.restrict(logits, top_k, top_p))).tolist()

    assert kept(4, 1.0) == [0, 1, 2, 3]
    assert kept(2, 1.0) == [1, 3]
    assert kept(4, 0.39) == [1]
    assert kept(4, 0.69) == [1, 3]
    assert kept(4, 0.71) == [1, 2, 3]
    assert kept(3, 0.75) == [1, 3]  # of the three, renormalised, two make 7/9
    ties = sampling.restrict(jnp.zeros(5), 2, 1.0)
    np.testing.assert_array_equal(np.isfinite(ties), [True, True, False, False, False])


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"seed": -1},
        {"seed": 2**32},
        {"tokens": 0},
        {"samples": 0},
    ],
    ids=str,
)
def test_options_out_of_range(words, options):
    with pytest.raises(UserError, match=next(iter(options))):
        words.generate("the", **options)


def test_set_for_reading(words, characters):
    vocabulary = words.vocabulary
    text = "it did n't work , he said ( too ) : the cat 's $ N <eos> <unk> a . <eos>"
    assert readable(vocabulary, text.split()) == "it didn't work, he said (too): the cat's $N\n<unk> a.\n"
    (sample,) = words.generate("a dog sat , too", 2)
    assert sample.text.startswith("a dog sat, too") and sample.raw.startswith("a dog sat , too")
    (sample,) = characters.generate("hell", 6)
    assert sample.text == sample.raw == "hell" + "".join(sample.tokens)
    assert len(sample.text) == 10


# ------------------------------------------------------------------ scoring


def test_carried_lines_make_up_the_text(words, monkeypatch):
    lines = (TEXT * 5).splitlines()
    numbers = words.vocabulary.encode(TEXT * 5)
    expected = teacher_forced(words, numbers)[np.arange(len(numbers)), numbers]
    for together, lone in ((16, 256), (1, 256), (4, 3)):
        monkeypatch.setattr(language_model, "LONE_WINDOW", lone)
        scores = list(words.score(lines, carried=True, together=together))
        np.testing.assert_allclose(np.concatenate([s.log_probs for s in scores]), expected, rtol=1e-5)
    assert scores[0].tokens == ("the", "cat", "sat", "on", "the", "mat", "<eos>")
    np.testing.assert_allclose(scores[0].nats, -expected[:7].sum(), rtol=1e-5)
    np.testing.assert_allclose(scores[0].perplexity, np.exp(-expected[:7].mean()), rtol=1e-5)


def test_lines_by_themselves(words, monkeypatch):
    """Whatever stands beside a line, and however it is cut: its score is that of a text of its own."""
    lines = ["the cat\n", "a dog sat , too " * 9 + "\r\n", "", "mat", "dog " * 70, "the cat"]
    monkeypatch.setattr(language_model, "LONG", 50)  # the fifth goes alone
    for window, together in ((8, 4), (32, 16)):
        monkeypatch.setattr(language_model, "WINDOW", window)
        scores = list(words.score(lines, together=together))
        assert [len(score.tokens) for score in scores] == [3, 46, 1, 2, 71, 3]
        for line, score in zip(lines, scores, strict=True):
            numbers = words.vocabulary.encode(line.rstrip() + "\n")
            expected = teacher_forced(words, numbers)[np.arange(len(numbers)), numbers]
            np.testing.assert_allclose(score.log_probs, expected, rtol=1e-5)
        np.testing.assert_array_equal(scores[0].log_probs, scores[5].log_probs)


def test_carried_total_is_the_static_figure(words):
    from lstm_jax import evaluate
    from lstm_jax.corpora import build_corpus
    from lstm_jax.tasks.language_model import from_corpus

    texts = {"train": TEXT, "valid": "the dog sat\n", "test": "a cat on\n\nthe , dog bit too\n" * 3}
    corpus = build_corpus("here", texts, splitter="whitespace")
    assert corpus.vocabulary == words.vocabulary
    task = from_corpus(corpus, batch=1, window=4, eval_window=7, epochs=1, seed=0)
    static = evaluate.make_evaluator(task, words.model, "test")(words.params)
    scores = list(words.score(texts["test"].splitlines(keepends=True), carried=True))
    tokens = sum(len(score.tokens) for score in scores)
    assert tokens == len(corpus.tokens["test"])
    np.testing.assert_allclose(sum(score.nats for score in scores) / tokens, static["nats"], rtol=1e-6)
    assert sum(score.unknown_count for score in scores) == 3  # "bit"

    apart = evaluate.make_dynamic_evaluator(words.model, corpus.tokens["test"], corpus.vocabulary.eos)
    statistics = evaluate.gradient_statistics(
        words.model, words.params, corpus.tokens["train"], corpus.vocabulary.eos
    )
    figures = apart(words.params, statistics, rate=0.0, decay=0.1, eps=1e-5)
    np.testing.assert_allclose(figures["nats"], static["nats"], rtol=1e-6)
    cached = evaluate.make_cache_evaluator(words.model, corpus.tokens["test"], corpus.vocabulary.eos)
    np.testing.assert_allclose(cached(words.params, theta=1.0, lam=0.0)["nats"], static["nats"], rtol=1e-6)


def test_unknown_words_are_scored_as_unk(words):
    (strange,), (plain,) = list(words.score(["the zebra sat"])), list(words.score(["the <unk> sat"]))
    assert strange.tokens == ("the", "zebra", "sat", "<eos>")
    assert strange.known == (True, False, True, True) and strange.unknown_count == 1
    np.testing.assert_array_equal(strange.log_probs, plain.log_probs)


def test_unknown_character_names_the_line(characters):
    with pytest.raises(UserError, match=r"line 3: the model does not know 'z'"):
        list(characters.score(["hello", "held", "zoo"]))


def test_scores_come_while_lines_are_read(words):
    """A pipe may be endless: no more lines are read than are scored together."""
    read = []

    def lines():
        while True:
            read.append("the cat")
            yield read[-1]

    scores = words.score(lines(), together=3)
    for _ in range(4):
        next(scores)
    assert len(read) == 6


# ------------------------------------------------------------------ a run's directory


@pytest.fixture(scope="module")
def run(words, tmp_path_factory):
    """A run's directory as training leaves it."""
    from lstm_jax.runs.checkpoint import Checkpoints
    from lstm_jax.runs.directory import RunPaths, write_json

    paths = RunPaths(tmp_path_factory.mktemp("run"))
    write_json(paths.config, {"task": {"name": "language_model", "corpus": "text"}, "model": SECTION})
    write_vocabulary(words.vocabulary, paths.vocabulary)
    with Checkpoints(paths.checkpoints) as checkpoints:
        checkpoints.save_best(17, words.params, {"nats": 2.0})
    return paths


def test_load(run, words):
    lm = predict.load(run.root)
    assert lm.step == 17 and lm.vocabulary == words.vocabulary and not lm.trims
    assert lm.generate("the", 10, seed=2) == words.generate("the", 10, seed=2)
    assert [s.nats for s in lm.score(["the cat"])] == [s.nats for s in words.score(["the cat"])]


def copy_of(run, tmp_path, **changes):
    """The same run without its checkpoints, with other values in its config."""
    config = run.read_config()
    for section, values in changes.items():
        config[section] = config[section] | values
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "vocabulary.json").write_bytes(run.vocabulary.read_bytes())
    return tmp_path


def test_what_cannot_be_loaded(run, tmp_path):
    with pytest.raises(UserError, match="there is no directory"):
        predict.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="not the directory of a run"):
        predict.load(tmp_path)
    with pytest.raises(UserError, match="no best parameters"):
        predict.load(copy_of(run, tmp_path))
    with pytest.raises(UserError, match="task 'copy': only a language_model"):
        predict.load(copy_of(run, tmp_path, task={"name": "copy"}))
    with pytest.raises(UserError, match="another version"):
        predict.load(copy_of(run, tmp_path, model={"novelty": 1}))
    (copy_of(run, tmp_path) / "vocabulary.json").unlink()
    with pytest.raises(UserError, match="cannot read the vocabulary"):
        predict.load(tmp_path)


def test_character_level_penn_treebank_trims_lines(run, characters, tmp_path):
    from lstm_jax.runs.checkpoint import Checkpoints

    directory = copy_of(run, tmp_path, task={"corpus": "ptb"})
    write_vocabulary(characters.vocabulary, directory / "vocabulary.json")
    with Checkpoints(directory / "checkpoints") as checkpoints:
        checkpoints.save_best(1, characters.params, {})
    lm = predict.load(directory)
    (trimmed,), (plain,) = list(lm.score([" hello "])), list(characters.score(["hello"]))
    assert trimmed.tokens == plain.tokens
    np.testing.assert_array_equal(trimmed.log_probs, plain.log_probs)
    # So for what is typed; but the last line is a beginning, and its last space begins a word.
    read, plain = reading.Reader(lm).read(" he \n  o "), reading.Reader(characters).read("he\no ")
    assert read.tokens == plain.tokens == tuple("he\no ")
    np.testing.assert_array_equal(read.bits, plain.bits)
    assert lm.generate(" he \n  o ", 3) == characters.generate("he\no ", 3)


def test_a_real_run_scores_and_generates(tmp_path):
    """From training to the figures of its own result.json."""
    from configs import base
    from lstm_jax.training import loop

    texts = {"train": TEXT * 9, "valid": "the dog sat\n" * 4, "test": "a cat on\nthe , dog bit too\n" * 5}
    for split, text in texts.items():
        (tmp_path / f"{split}.txt").write_text(text)
    config = base.get_config()
    config.task.update(corpus="text", data_dir=str(tmp_path), batch=2, window=8, eval_window=8)
    config.model.update(hidden=(5,), embedding=4)
    config.train.update(epochs=1, tensorboard=False)
    config.evaluate.update(
        dynamic=True, dynamic_rate=0.0, cache=True, cache_lambda=0.0, cache_size=5, sample=3
    )
    figures = loop.run(config, str(tmp_path / "run"))["figures"]
    lm = predict.load(tmp_path / "run")
    scores = list(lm.score(texts["test"].splitlines(), carried=True))
    nats = sum(score.nats for score in scores) / sum(len(score.tokens) for score in scores)
    for column in ("static", "dynamic", "cache"):  # at rate 0 and lambda 0 all three are the static one
        np.testing.assert_allclose(figures[column]["test"]["nats"], nats, rtol=1e-6)
    assert len(lm.generate("the dog", 4)[0].tokens) == 4


# ------------------------------------------------------------------ the commands


def command(name, *arguments, text="", status=0):
    found = subprocess.run(
        [sys.executable, ROOT / "experiments" / f"{name}.py", *arguments],
        input=text.encode(),
        capture_output=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    assert found.returncode == status, found.stderr.decode()
    return found.stdout.decode(), found.stderr.decode()


def test_generate_command(run, words):
    out, raised = command(
        "generate", f"--run={run.root}", "--prompt=-", "--tokens=8", "--seed=4", text="The cat\n"
    )
    assert out == words.generate("The cat", 8, seed=4)[0].text + "\n"
    assert raised.strip() == "not in the vocabulary, read as <unk>: 'The' (known in lower case: 'the')"
    out, _ = command("generate", f"--run={run.root}", "--samples=2", "--top_k=3", "--tokens=5", "--raw")
    two = words.generate("", 5, top_k=3, samples=2)
    assert out == f"--- sample 1 of 2\n{two[0].raw}\n--- sample 2 of 2\n{two[1].raw}\n"


def test_score_command(run, words, tmp_path):
    text = "the cat sat\nthe zebra\n"
    scores = list(words.score(text.splitlines(), carried=True))
    out, _ = command("score", f"--run={run.root}", "--json", "--carried", text=text)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["token"] for row in rows[:2]] == [list(score.tokens) for score in scores]
    np.testing.assert_allclose(rows[1]["log_prob"], scores[1].log_probs, atol=1e-6)
    total = rows[2]["total"]
    assert (rows[2]["lines"], total["tokens"], total["unknown"]) == (2, 7, 1)
    np.testing.assert_allclose(total["nats"], scores[0].nats + scores[1].nats, rtol=1e-6)
    np.testing.assert_allclose(total["perplexity"], np.exp(total["nats"] / 7), rtol=1e-6)

    (tmp_path / "lines.txt").write_text(text)
    out, _ = command("score", f"--run={run.root}", f"--file={tmp_path / 'lines.txt'}", "--per_token")
    lines = out.splitlines()
    assert lines[0].split() == ["line", "tokens", "unknown", "nats", "perplexity", "text"]
    assert lines[1].split()[:3] == ["1", "4", "0"] and lines[1].endswith("the cat sat")
    assert lines[8].endswith("'zebra'  (unknown)")
    assert lines[-1].split()[:3] == ["total", "7", "1"]


@pytest.mark.parametrize(
    ("name", "arguments", "text", "message"),
    [
        ("score", [], "", "is empty"),
        ("generate", ["--top_p=2"], "", "top_p=2.0 is not possible"),
        ("generate", ["the", "cat"], "", "unexpected argument 'the'"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_errors_are_one_line(run, name, arguments, text, message):
    out, raised = command(name, f"--run={run.root}", *arguments, text=text, status=2)
    assert out == "" and len(raised.splitlines()) == 1
    assert raised.startswith("error: ") and message in raised


@pytest.mark.parametrize("name", ["generate", "score"])
def test_help_names_every_flag(name):
    out, _ = command(name, "--help")
    assert "--run" in out and f"experiments/{name}.py" in out
    assert all(
        f"--{flag}:" in out for flag in {"generate": ["top_k", "prompt"], "score": ["file", "json"]}[name]
    )


def test_a_closed_pipe_is_no_error(run):
    program = f"{sys.executable} experiments/score.py --run={run.root} --per_token"
    found = subprocess.run(
        ["bash", "-c", f"yes 'the cat' | head -n 4000 | {program} | head -n 2"],
        capture_output=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    assert found.stderr.decode() == "" and len(found.stdout.splitlines()) == 2


def test_lines_of_a_file(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\n\n\xef\xbb\xbfone\ntwo")
    assert list(standard_input.read_lines(str(path)))[-1] == "two"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\ntwo")
    assert list(standard_input.read_lines(str(path))) == ["one\r\n", "\n", "two"]
    path.write_bytes(b" \n\n")
    with pytest.raises(UserError, match="is empty"):
        list(standard_input.read_lines(str(path)))
    path.write_bytes(b"good\nb\xffd\n")
    with pytest.raises(UserError, match="text, line 2 is not UTF-8"):
        list(standard_input.read_lines(str(path)))
    with pytest.raises(UserError, match="Is a directory"):
        standard_input.read_lines(str(tmp_path))
    with pytest.raises(UserError, match=r"nowhere: No such file"):
        standard_input.read_lines(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="give --run=DIR"):
        standard_input.check_arguments([], "")
