"""One run over two processes of two devices each, on the loopback address: trained, stopped, gone on with."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from tiny_text_training import corpus, tiny  # noqa: F401  a fixture

from configs import base
from lstm_jax import cli
from lstm_jax.runs import distributed
from lstm_jax.runs.directory import flat_config
from lstm_jax.runs.metrics import read_metrics, read_result
from lstm_jax.support.errors import UserError
from lstm_jax.training import loop

FIELDS = {
    "train.epochs": 1,
    "train.steps_per_call": 5,
    "task.window_jitter": 0.0,
    "optim.scale_by_length": False,
}
TIMES = {"tokens_per_second", "seconds"}

WORKER = """
import os, signal, sys
from lstm_jax.training import loop
from lstm_jax.runs import distributed
from lstm_jax.support.errors import UserError
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.training.session import Session
from tiny_text_training import tiny

index, port, corpus, root = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
distributed.start("127.0.0.1:" + port, 2, index, timeout=120)
config = tiny(corpus, **FIELDS)

# What is wrong in one process is said in both, and leaves both alive.
try:
    with distributed.shared_fate():
        if index == 1:
            raise UserError("the file is not here")
    raise SystemExit("it went on")
except UserError as error:
    assert str(error) == ("" if index else "process 1: ") + "the file is not here", error
try:
    distributed.check_same("data", [index])
    raise SystemExit("it went on")
except UserError as error:
    assert "process 1 has other data" in str(error)
assert distributed.from_first({"loss": index + 0.1}) == {"loss": 0.1}

loop.run(config, os.path.join(root, "whole"))

advance = Session.advance
def interrupting(self, *arguments):
    row = advance(self, *arguments)
    if index == 1 and self.step == 20:  # in this process alone, and after its last look for signals
        os.kill(os.getpid(), signal.SIGTERM)
    return row
Session.advance = interrupting
try:
    loop.run(config, os.path.join(root, "stopped"))
    raise SystemExit("it went on")
except Interrupted as stop:
    assert stop.signum == signal.SIGTERM
    print("stopped", index, str(stop))
"""


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def two_processes(*commands: list[str]) -> list[subprocess.CompletedProcess]:
    """Runs the commands side by side, each with two devices."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": path}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    running = [subprocess.Popen([sys.executable, *command], **pipes) for command in commands]
    try:
        done = [(process, *process.communicate(timeout=900)) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [subprocess.CompletedProcess(p.args, p.returncode, out, error) for p, out, error in done]


def flags(corpus: str) -> list[str]:
    """The worker's config as a command line, so that the launcher can go on with its run."""
    default, ours = (dict(flat_config(c.to_dict())) for c in (base.get_config(), tiny(corpus, **FIELDS)))
    return [f"--config.{name}={value}" for name, value in ours.items() if default[name] != value]


def test_two_processes(corpus, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER.replace("FIELDS", repr(FIELDS)))
    port = free_port()
    for index, done in enumerate(
        two_processes(*([str(script), str(index), port, corpus, str(tmp_path)] for index in (0, 1)))
    ):
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"stopped {index} stopped at step 20" in done.stdout, done.stdout + done.stderr
        assert ("best checkpoint: step" in done.stdout) == (index == 0), "process 0 speaks, and no other"
    assert read_metrics(tmp_path / "stopped")[-1]["step"] == 20
    assert not (tmp_path / "stopped" / "result.json").exists()

    # Another pair, by the command line, goes on from there.
    port = free_port()
    common = ["experiments/ptb_lm.py", "--config=configs/base.py", *flags(corpus), "--distributed"]
    common += [f"--workdir={tmp_path / 'stopped'}", f"--coordinator=127.0.0.1:{port}", "--processes=2"]
    first, second = two_processes(*([*common, f"--process_id={index}"] for index in (0, 1)))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "4 cpu device(s) of 2 processes" in first.stderr and "going on from step 20" in first.stderr
    assert "best checkpoint" in first.stdout and "best checkpoint" not in second.stdout
    assert "going on" not in second.stderr
    same_runs(tmp_path / "whole", tmp_path / "stopped")

    # One process, one device: the same up to the order of sums.
    loop.run(tiny(corpus, **FIELDS), str(tmp_path / "alone"))
    alone, whole = read_metrics(tmp_path / "alone"), read_metrics(tmp_path / "whole")
    for row, other in zip(alone, whole, strict=True):
        for name in row.keys() - TIMES - {"kind"}:
            np.testing.assert_allclose(other[name], row[name], rtol=2e-3, err_msg=f"{name} at {row['step']}")


def same_runs(one: Path, other: Path) -> None:
    """Every number of every row and of the result, bit for bit."""
    rows, others = (
        [{name: value for name, value in row.items() if name not in TIMES} for row in read_metrics(path)]
        for path in (one, other)
    )
    assert rows == others
    assert read_result(one)["figures"] == read_result(other)["figures"]


@pytest.mark.parametrize("index", [0])
def test_one_that_never_comes_gives_one_line(index, corpus, tmp_path):
    command = ["experiments/memory.py", "--distributed", f"--coordinator=127.0.0.1:{free_port()}"]
    command += ["--processes=2", f"--process_id={index}", "--join_timeout=1", f"--workdir={tmp_path}"]
    (done,) = two_processes(command)
    assert done.returncode == cli.EXIT_USAGE
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: after 1 s not all processes have come to 127.0.0.1:")
    assert not list(tmp_path.iterdir())


def test_bad_flags_are_refused():
    with pytest.raises(UserError, match="HOST:PORT"):
        distributed.start("nowhere", 2, 0)
    with pytest.raises(UserError, match="none of 2 processes"):
        distributed.start("127.0.0.1:1", 2, 2)
