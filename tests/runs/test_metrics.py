"""Rows come back as they were written, through kills and resumes; progress tells the truth of them."""

import io
import json
import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.runs.metrics import Recorder, read_metrics, read_result, write_result
from lstm_jax.runs.progress import Progress
from lstm_jax.support.errors import UserError


def record(directory: Path, *steps: int) -> Path:
    with Recorder(directory, tensorboard=False) as recorder:
        for step in steps:
            recorder.write(step, "train", loss=step / 3)
    return directory / "metrics.jsonl"


def steps_of(directory: Path) -> list[int]:
    return [row["step"] for row in read_metrics(directory)]


# ---- rows


def test_rows_come_back_exactly(tmp_path):
    values = {
        "loss": 0.1 + 0.2,
        "numpy": np.float32(0.1),
        "jax": jnp.float32(2.5),
        "n": jnp.int32(7),
        "text": "é\n",
        "none": None,
        "inf": float("inf"),
    }
    with Recorder(tmp_path, tensorboard=False) as recorder:
        recorder.write(np.int64(3), "train", **values)
        # what is written can be read at once, by another reader
        (row,) = read_metrics(tmp_path / "metrics.jsonl")
        recorder.write(4, "valid", nats=math.nan)
    assert row == {
        "step": 3, "kind": "train", "loss": 0.1 + 0.2, "numpy": float(np.float32(0.1)), "jax": 2.5, "n": 7,
        "text": "é\n", "none": None, "inf": math.inf,
    }  # fmt: skip
    assert math.isnan(read_metrics(tmp_path)[1]["nats"])


def test_a_vector_is_refused_by_name(tmp_path):
    with Recorder(tmp_path, tensorboard=False) as recorder, pytest.raises(TypeError, match="'gates' is a"):
        recorder.write(1, "train", gates=np.zeros(3))


def test_rewind_drops_later_rows_and_a_second_life_writes_no_row_twice(tmp_path):
    whole = record(tmp_path / "whole", *range(1, 9)).read_text()
    record(tmp_path / "cut", *range(1, 7))
    with Recorder(tmp_path / "cut", tensorboard=False) as recorder:
        recorder.rewind(4)
        for step in range(5, 9):
            recorder.write(step, "train", loss=step / 3)
    assert (tmp_path / "cut" / "metrics.jsonl").read_text() == whole


def test_rewind_to_the_end_and_to_zero(tmp_path):
    path = record(tmp_path, 1, 2)
    before = path.read_text()
    with Recorder(tmp_path, tensorboard=False) as recorder:
        recorder.rewind(2)
        assert path.read_text() == before
        recorder.rewind(0)
    assert steps_of(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 2, 5, 20])
def test_a_torn_last_line_is_passed_over_and_not_grown_onto(tmp_path, cut):
    path = record(tmp_path, 1, 2)
    os.truncate(path, path.stat().st_size - cut)
    # one byte less is only the newline: the row is whole
    kept = [1, 2] if cut == 1 else [1]
    assert steps_of(tmp_path) == kept
    record(tmp_path, 3)
    assert steps_of(tmp_path) == [*kept, 3]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_letter_torn_in_the_middle_is_passed_over(tmp_path):
    path = record(tmp_path, 1)
    with open(path, "ab") as file:
        file.write('{"step": 2, "kind": "é'.encode()[:-1])
    assert steps_of(tmp_path) == [1]
    with Recorder(tmp_path, tensorboard=False) as recorder:
        recorder.rewind(5)
        recorder.write(2, "train")
    assert steps_of(tmp_path) == [1, 2]


def test_a_bad_line_in_the_middle_is_passed_over_with_a_warning(tmp_path, caplog):
    path = record(tmp_path, 1, 2)
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\nrubbish\n{second}\n")
    assert steps_of(tmp_path) == [1, 2]
    assert "line 2 is no row" in caplog.text


def test_a_killed_writer_loses_no_row_that_was_written(tmp_path):
    program = (
        "import os, signal, sys; from lstm_jax.runs.metrics import Recorder\n"
        "recorder = Recorder(sys.argv[1], tensorboard=False)\n"
        "[recorder.write(step, 'train', loss=1.0) for step in range(5)]\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert steps_of(tmp_path) == [0, 1, 2, 3, 4]


def test_missing_file_and_full_disk_are_user_errors(tmp_path):
    with pytest.raises(UserError, match=r"there is no .*metrics\.jsonl"):
        read_metrics(tmp_path)
    full = Recorder(tmp_path / "full", tensorboard=False)
    full.close()
    full._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with pytest.raises(UserError, match="No space left on device"), full:
        full.write(1, "train", loss=1.0)


def test_a_disk_that_fills_up_in_the_middle_of_a_row_is_a_user_error_and_tears_no_other_row(tmp_path):
    program = (
        "import resource, sys; from lstm_jax.runs.metrics import Recorder\n"
        "from lstm_jax.support.errors import UserError\n"
        "with Recorder(sys.argv[1], tensorboard=False) as recorder:\n"
        "    recorder.write(1, 'train', loss=1.0)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))\n"
        "    try: recorder.write(2, 'train', loss=1.0)\n"
        "    except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "cannot write" in done.stdout and done.stderr == ""
    assert (tmp_path / "metrics.jsonl").stat().st_size == 60
    assert steps_of(tmp_path) == [1]
    record(tmp_path, 2)
    assert steps_of(tmp_path) == [1, 2]


# ---- TensorBoard


def events(directory: Path) -> list[tuple[str, int, float]]:
    from tensorboardX.event_file_writer import EventsWriter  # noqa: F401  the format is this package's
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted((directory / "tensorboard").iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):  # a TFRecord: length, its checksum, the event, its checksum
            length = int.from_bytes(content[at : at + 8], "little")
            event = Event.FromString(content[at + 12 : at + 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            if event.HasField("session_log"):
                found.append(("session_log", event.step, event.session_log.status))
            at += 16 + length
    return found


def test_tensorboard_holds_the_finite_numbers_and_is_told_of_a_rewind(tmp_path, capfd):
    with Recorder(tmp_path) as recorder:
        recorder.write(1, "train", loss=2.0, note="x", bad=math.nan)
    assert events(tmp_path) == [("train/loss", 1, 2.0)]
    with Recorder(tmp_path) as recorder:
        recorder.rewind(0)
        recorder.write(1, "train", loss=3.0)
    found = events(tmp_path)
    assert ("session_log", 1, 1) in found and ("train/loss", 1, 3.0) in found  # 1: SessionLog.START
    assert capfd.readouterr() == ("", "")


def test_without_tensorboard_it_is_neither_imported_nor_written(tmp_path):
    program = (
        "import sys; from lstm_jax.runs.metrics import Recorder\n"
        "with Recorder(sys.argv[1], tensorboard=False) as recorder: recorder.write(1, 'train', loss=1.0)\n"
        "assert 'tensorboardX' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])
    assert not (tmp_path / "tensorboard").exists()


def test_a_missing_tensorboardx_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"train\.tensorboard=False"):
        Recorder(tmp_path)


# ---- the result


def test_result_round_trip_and_its_absence(tmp_path):
    with pytest.raises(UserError, match="has not finished"):
        read_result(tmp_path)
    write_result(tmp_path, {"test": {"perplexity": 0.1 + 0.2}})
    assert read_result(tmp_path) == {"test": {"perplexity": 0.1 + 0.2}}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_result(tmp_path / "result.json")


# ---- progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_lines_come_at_intervals_with_the_time_left(caplog):
    clock = Clock()
    stream = io.StringIO()
    with (
        caplog.at_level(logging.INFO),
        Progress(1000, 100, interval=10, stream=stream, clock=clock) as progress,
    ):
        for step in range(101, 301):
            clock.now += 0.25
            progress.update(step, loss=5.0, perplexity=148.4132, tokens_per_second=12_345.6)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 5  # 50 seconds
    # 40 steps took 10 seconds; 860 are left
    assert messages[0] == "step 140/1000, loss 5, perplexity 148.41, tokens/s 12,346, 3:35 left"
    assert stream.getvalue() == ""


def test_on_a_terminal_there_is_a_bar_and_no_log(caplog):
    stream = Terminal()
    with caplog.at_level(logging.INFO), Progress(10, 4, stream=stream) as progress:
        progress.update(5, perplexity=99.5)
        progress.say("a line above")
        progress.update(10, perplexity=math.inf)
    shown = stream.getvalue()
    assert " 4/10 " in shown and " 10/10 " in shown and "perplexity=inf" in shown
    assert "a line above\n" in shown
    assert not caplog.records


def test_say_goes_to_the_log_where_there_is_no_bar(caplog):
    with caplog.at_level(logging.INFO), Progress(10, stream=io.StringIO()) as progress:
        progress.say("a line")
    assert caplog.messages == ["a line"]


def test_a_notebook_has_a_bar_though_it_is_no_terminal(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class IPython:
        get_ipython = staticmethod(ZMQInteractiveShell)

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    stream = io.StringIO()
    with Progress(10, stream=stream) as progress:
        progress.update(10)
    assert "10/10" in stream.getvalue()
