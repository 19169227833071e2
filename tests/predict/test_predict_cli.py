"""Texts answered: a reader against the whole pass, lines as they stream, a prompt on a terminal."""

import dataclasses
import json
import os
import select
import stat
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import write_label_run, write_recall_run, write_text_run

from lstm_jax import predict
from lstm_jax.corpora.printable import printable
from lstm_jax.predict import answering, reading, stream
from lstm_jax.predict.classification import Classifier
from lstm_jax.support.errors import UserError

ROOT = Path(__file__).parents[2]
LONGEST = 600
"""Seconds without a sign of life until a command counts as hung: a busy machine is slow."""


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    return write_text_run(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def lm(text_run):
    return predict.load(text_run)


def whole_pass(lm, numbers):
    """Log-probabilities [N + 1, V] and traces after each of [eos, *numbers], in one pass without padding."""
    inputs = jnp.asarray([lm.vocabulary.eos, *numbers])[:, None]
    outputs = lm.model.apply(lm.params, inputs, lm.model.carry(lm.params, 1))
    return np.asarray(jax.nn.log_softmax(outputs.logits[:, 0]), np.float64), outputs.traces


# ------------------------------------------------------------------ reading


@pytest.mark.parametrize("text", ["the cat sat on the zebra , too", "the", ""])
def test_what_is_read_against_one_whole_pass(lm, text):
    read = reading.Reader(lm, top=4, traced=True).read(text)
    words = tuple(text.split())
    numbers = lm.vocabulary.encode(text)
    log_probs, traces = whole_pass(lm, numbers)
    own = log_probs[np.arange(len(words)), numbers]
    assert read.tokens == words and read.unknown == tuple(w for w in words if w == "zebra")
    np.testing.assert_allclose(read.bits, -own / np.log(2), rtol=1e-5)
    np.testing.assert_array_equal(read.ranks, 1 + (log_probs[:-1] > own[:, None]).sum(1))
    order = np.argsort(-log_probs, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(read.expected, order)
    likeliest = np.take_along_axis(log_probs, order, axis=1)
    np.testing.assert_allclose(read.probabilities, np.exp(likeliest), rtol=1e-5)
    assert [sorted(layer) for layer in read.traces] == [["c", "f", "g", "i", "o"]] * 2
    for mine, layer in zip(read.traces, traces, strict=True):
        for name, values in mine.items():
            np.testing.assert_allclose(values, layer[name][:, 0], rtol=1e-5, atol=1e-6)


def test_long_texts_go_in_windows_and_each_length_compiles_once(lm, monkeypatch):
    text = " ".join(["the cat sat on a dog"] * 3)
    at_once = reading.Reader(lm).read(text)
    monkeypatch.setattr(reading, "LENGTHS", (2, 4))
    reader = reading.Reader(lm)
    in_windows = reader.read(text)
    np.testing.assert_allclose(in_windows.bits, at_once.bits, rtol=1e-5)
    np.testing.assert_array_equal(in_windows.expected, at_once.expected)
    for words in range(12):
        reader.read(" ".join(["cat"] * words))
    assert reader._window._cache_size() == 2


def test_no_more_words_than_there_are(lm):
    everything = reading.Reader(lm, top=1000).read("the").probabilities
    assert everything.shape == (2, len(lm.vocabulary))
    np.testing.assert_allclose(everything.sum(1), 1, rtol=1e-5)
    with pytest.raises(UserError, match="top=0"):
        reading.Reader(lm, top=0)


def test_answers_and_their_lines(text_run, lm):
    asked = answering.answerer(text_run, top=2, surprisal=True)
    found = asked.answer("the Cat")
    assert list(found) == ["next", "unknown", "surprisal"] and len(found["next"]) == 2
    assert found["unknown"] == ["Cat"] and [row["token"] for row in found["surprisal"]] == ["the", "Cat"]
    lines = asked.lines(found)
    assert lines[0] == "not in the vocabulary, read as <unk>: 'Cat' (known in lower case: 'cat')"
    assert lines[1].endswith("bits  the") and "in the mean" in lines[3]
    assert lines[4].split()[:3] == [
        f"{100 * found['next'][0]['probability']:.2f}",
        "%",
        found["next"][0]["token"],
    ]


def test_labels_and_their_lines(tmp_path):
    run = write_label_run(tmp_path)
    asked = answering.answerer(run)
    text = "the zebra sat 2 times on the cat"
    found = asked.answer(text)
    (expected,) = Classifier(run).predict([text])
    assert found["label"] == expected.label == next(iter(found["probabilities"]))
    assert list(found["probabilities"]) == list(expected.probabilities)
    np.testing.assert_allclose(sum(found["probabilities"].values()), 1, rtol=1e-5)
    assert (
        found["unknown"] == ["zebra", "on"] and found["left_out"] == 3
    )  # six are read, the last a line's end
    lines = asked.lines(found)
    assert "'zebra'" in lines[0] and "last 3 tokens" in lines[1] and len(lines) == 2 + 3
    assert asked.answer("")["left_out"] == 0
    with pytest.raises(UserError, match="leave --surprisal out"):
        answering.answerer(run, surprisal=True)


def test_a_run_whose_numbers_are_none(text_run, lm, monkeypatch):
    broken = dataclasses.replace(lm, params=jax.tree.map(lambda leaf: leaf * jnp.nan, lm.params))
    monkeypatch.setattr(answering, "model_of", lambda run: broken)
    raised = list(stream.answers([b"the cat"], answering.answerer(text_run).answer))
    assert raised == [{"line": 1, "error": raised[0]["error"]}] and "answer is nan" in raised[0]["error"]


def test_other_tasks_are_told_where_to_look(tmp_path):
    run = write_recall_run(tmp_path / "recall")
    with pytest.raises(UserError, match=r"texts only.*'delayed_recall'.*analyze\.py --run=") as caught:
        answering.answerer(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "most", "seen"),
    [
        ("the", 0, "the"),
        (" ", 0, "␣"),
        ("\x1b[2J", 0, r"\x1b[2J"),
        ("a\u202eb", 0, r"a\u202eb"),
        ("abcd", 3, "ab…"),
    ],
)
def test_tokens_that_a_terminal_would_obey(token, most, seen):
    assert printable(token, most) == seen


# ------------------------------------------------------------------ lines


@pytest.mark.parametrize(
    ("line", "form", "found"),
    [
        (b"the cat\r\n", "auto", ("the cat", {})),
        (b" the cat ", "auto", (" the cat ", {})),
        (b"\n", "auto", ("", {})),
        (b'{"text": "caf\\u00e9", "id": [1], "label": 3}\n', "auto", ("café", {"id": [1]})),
        (b'  {"text": "a", "id": null}', "auto", ("a", {"id": None})),
        (b'{"text": "a", "id": 1e300, "label": 1e999}', "auto", ("a", {"id": 1e300})),
        (b'{"text": "a"}', "text", ('{"text": "a"}', {})),
        ("naïve".encode(), "auto", ("naïve", {})),
    ],
)
def test_a_line_asks(line, form, found):
    assert stream.request(line, form) == found


@pytest.mark.parametrize(
    ("line", "form", "said"),
    [
        (b"caf\xe9", "auto", "not UTF-8"),
        (b"{the cat", "auto", "--format=text"),
        (b"the cat", "json", "not JSON"),
        (b'{"text": 3}', "auto", 'string "text"'),
        (b'["text"]', "json", 'string "text"'),
        (b'{"text": "\\ud800"}', "auto", "half of a pair"),
        (b'{"text": ' + b"[" * 100_000, "auto", "not JSON"),
        (b'{"text": ' + b"1" * 10_000, "auto", "not JSON"),
        (b'{"text": "a", "id": NaN}', "auto", "not JSON .NaN is no number.; --format=text"),
        (b'{"text": "a", "id": [-Infinity]}', "json", "not JSON .-Infinity is no number"),
        (b'{"text": "a", "id": 1e999}', "auto", '"id" cannot be given back'),
        (b'{"text": "a", "id": {"b": [-1e999]}}', "auto", '"id" cannot be given back'),
    ],
)
def test_a_line_that_asks_nothing(line, form, said):
    with pytest.raises(UserError, match=said) as caught:
        stream.request(line, form)
    assert "\n" not in str(caught.value)


def test_each_line_is_answered_before_the_next_is_read():
    events = []

    def lines():
        for line in (b"\xef\xbb\xbfone", b"\xff", b"three"):
            events.append("read")
            yield line

    def answer(text):
        if text == "three":
            raise UserError("not three")
        return {"label": text.upper()}

    found = []
    for raised in stream.answers(lines(), answer):
        events.append("told")
        found.append(raised)
    assert events == ["read", "told"] * 3
    assert found[0] == {"line": 1, "text": "one", "label": "ONE"}
    assert [sorted(raised) for raised in found[1:]] == [["error", "line"]] * 2
    assert found[2] == {"line": 3, "error": "not three"}


# ------------------------------------------------------------------ the command


def environment(**more):
    return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)} | more


def test_a_pipe_is_answered_line_by_line(text_run, lm):
    program = [sys.executable, "experiments/predict.py", f"--run={text_run}", "--top=3"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(program, cwd=ROOT, env=environment(), **pipes) as process:

        def ask(line):
            process.stdin.write(line)
            process.stdin.flush()  # and not closed: the answer must come before anything else is typed
            return json.loads(process.stdout.readline())

        first = ask(b"the cat\n")
        assert (first["line"], first["text"], first["unknown"]) == (1, "the cat", [])
        expected = reading.Reader(lm, 3).read("the cat")
        words = [lm.vocabulary.tokens[number] for number in expected.expected[-1]]
        assert [row["token"] for row in first["next"]] == words
        given = [row["probability"] for row in first["next"]]
        np.testing.assert_allclose(given, expected.probabilities[-1], rtol=1e-5)
        assert ask(b'{"text": "the cat", "id": "\\udc00"}\n') == first | {"line": 2, "id": "\udc00"}
        assert sorted(ask(b"{\n")) == ["error", "line"]
        assert ask(b"the cat\r\n") == first | {"line": 4}
        rest, raised = process.communicate(timeout=LONGEST)
    assert (process.returncode, rest) == (1, b"")
    assert raised.decode() == "1 of 4 lines could not be answered\n"


TWICE = """
import fcntl, signal, sys, termios
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background has to ignore
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # this terminal's Ctrl-C is for this process
sys.path.insert(0, "experiments")
import predict
from lstm_jax import cli
predict.define_flags()
for _ in range(2):
    try:
        cli.launch(predict.main, predict.USAGE)
    except SystemExit as stop:
        print("status", stop.code, flush=True)
"""


class Terminal:
    """A program on a terminal of its own: what it shows, and keys to press."""

    def __init__(self, *program):
        self.screen, inside = os.openpty()
        ends = dict(stdin=inside, stdout=inside, stderr=inside)
        variables = environment(TERM="xterm", INPUTRC=os.devnull)
        self.process = subprocess.Popen(program, cwd=ROOT, env=variables, start_new_session=True, **ends)
        os.close(inside)
        self.seen = ""

    def wait_for(self, text):
        """What was shown up to and with `text`."""
        while text not in self.seen:
            assert self.read(LONGEST), self.seen
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def read(self, seconds):
        """Takes in what is shown; whether anything was, in that time."""
        if not select.select([self.screen], [], [], seconds)[0]:
            return False
        try:
            self.seen += os.read(self.screen, 4096).decode(errors="replace")
        except OSError as error:  # Linux: the last program closed it
            raise AssertionError(f"it ended: {self.seen}") from error
        return True

    def press(self, keys):
        os.write(self.screen, keys.encode())

    def press_until(self, key, text):
        """As a person presses Ctrl-C: again, where nothing comes of it. Python's readline does not hear a
        signal that comes between its printing of a key and its waiting for the next.
        """
        for _ in range(LONGEST // 5):
            self.press(key)
            while text not in self.seen and self.read(5):
                pass
            if text in self.seen:
                break
        return self.wait_for(text)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.screen)


def test_a_prompt_on_a_terminal(text_run, tmp_path):
    history = tmp_path / "state" / "history"
    arguments = [f"--run={text_run}", "--top=2", f"--history={history}"]
    terminal = Terminal(sys.executable, "-c", TWICE, *arguments)
    try:
        assert "Ctrl-D leaves" in terminal.wait_for("> ")
        terminal.press("the zat\x1b[D\x1b[D\x7fc\r")  # two to the left, and z becomes c
        first = terminal.wait_for("\n> ")
        assert "unknown" not in first and first.count(" % ") == 2
        terminal.press("\r")  # nothing to answer
        terminal.wait_for("> ")
        terminal.press("\x1b[A\r")  # the line before
        assert "the cat" in (again := terminal.wait_for("\n> "))
        assert [line for line in again.splitlines() if "%" in line] == [
            line for line in first.splitlines() if "%" in line
        ]
        terminal.press("the c")
        terminal.wait_for("the c")
        left = terminal.press_until("\x03", "status 130")
        assert "stopped" in left and "Traceback" not in left

        terminal.wait_for("> ")
        terminal.press("\x1b[A\r")  # kept from before
        assert "the cat" in terminal.wait_for("\n> ")
        terminal.press("the Dog\r")
        assert "known in lower case" not in terminal.wait_for("read as <unk>: 'Dog'")
        terminal.wait_for("\n> ")
        terminal.press("\x04")
        left = terminal.wait_for("status 0")
        assert "Traceback" not in left
        assert terminal.process.wait(LONGEST) == 0
    finally:
        terminal.close()
    assert history.read_text().split("\n")[-3:-1] == ["the cat", "the Dog"]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
