"""The command line as a person meets it: exit statuses, one line on stderr, and nothing slow before it."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from lstm_jax import cli
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.support.errors import UserError

SHOW = """
import json
from lstm_jax import cli
def main(rest):
    config, workdir = cli.config_and_workdir()
    print(json.dumps([config.to_dict(), workdir, rest]))
cli.with_config("configs/quickstart.py")
cli.launch(main, "usage")
"""


def python(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )


def show(*arguments: str) -> tuple[dict, str, list[str]]:
    """What a command sees of its flags: the config, the run's directory and the rest."""
    done = python("-c", SHOW, *arguments)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


def test_help_answers_without_jax():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['experiments/ptb_lm.py', '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop:\n    print('status', stop.code, 'jax', 'jax' in sys.modules)\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "--config:" in done.stdout
    assert "--workdir:" in done.stdout
    assert done.stdout.splitlines()[-1] == "status 0 jax False"


def test_help_of_the_command_itself_exits_with_zero():
    done = python("experiments/ptb_lm.py", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "configs/quickstart.py" in done.stdout


MISTAKES = {
    "unknown field": (["--config.optim.learning_rat=1"], "did you mean 'optim.learning_rate'?"),
    "unknown section": (["--config.optin.clip=1"], "did you mean 'optim'?"),
    "field of a value": (["--config.seed.x=1"], "seed is a value"),
    "section set": (["--config.optim=1"], "is a section"),
    "missing file": (["--config=configs/nope.py"], "configs/nope.py"),
    "unknown variant": (["--config=configs/zaremba.py:huge"], "allowed: small, medium, large"),
    "wrong type": (["--config.task.batch=ten"], "--config.task.batch=ten"),
    "unknown flag": (["--workdri=x"], "workdri"),
    "field first, missing file": (
        ["--config.model.tied=true", "--config=configs/nope.py"],
        "configs/nope.py",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_two(name):
    arguments, said = MISTAKES[name]
    done = python("experiments/ptb_lm.py", *arguments)
    assert done.returncode == cli.EXIT_USAGE == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_a_field_may_stand_before_the_config_it_belongs_to():
    config, workdir, rest = show("--config.task.batch=7", "--config=configs/zaremba.py:medium")
    assert config["task"]["batch"] == 7
    assert config["task"]["window"] == 35  # zaremba medium, not the default quickstart
    assert config["model"]["hidden"] == [650, 650]
    assert workdir == os.path.join("runs", "zaremba-medium")
    assert rest == []


def test_workdir_and_the_default_config():
    config, workdir, _ = show("--workdir=elsewhere", "--config.model.hidden=3,4,5")
    assert config["task"]["level"] == "char"  # quickstart
    assert config["model"]["hidden"] == [3, 4, 5]
    assert workdir == "elsewhere"


def test_guarded_success_is_zero_and_silent(capfd):
    assert cli.guarded(lambda: None) == 0
    assert capfd.readouterr() == ("", "")


FAULTS = [
    (UserError("no such corpus"), 2, "error: no such corpus\n"),
    (Interrupted(signal.SIGTERM, "stopped at step 3"), 128 + 15, "stopped at step 3\n"),
    (Interrupted(signal.SIGINT, "stopped at step 4"), 128 + 2, "stopped at step 4\n"),
    (KeyboardInterrupt(), 130, "stopped at once"),
    (OSError(errno.ENOSPC, "No space left on device", "somewhere/checkpoint"), 2, "somewhere/checkpoint"),
    (OSError(errno.EDQUOT, "Quota exceeded"), 2, "disk is full"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"), 2, "model.remat_chunk"),
]


def raiser(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(("error", "status", "said"), FAULTS, ids=lambda v: type(v).__name__)
def test_guarded_turns_what_a_person_can_mend_into_a_line(error, status, said, capfd):
    assert cli.guarded(raiser(error)) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err


@pytest.mark.parametrize(
    "error",
    [ValueError("ours"), OSError(errno.EACCES, "denied"), RuntimeError("ours"), AssertionError("ours")],
    ids=lambda e: type(e).__name__,
)
def test_guarded_lets_faults_of_ours_through(error):
    with pytest.raises(type(error)) as caught:
        cli.guarded(raiser(error))
    assert caught.value is error


def refused(*arguments: str) -> str:
    """The one line on stderr with which a command refuses its arguments."""
    done = python("-c", SHOW, *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_field_given_twice_has_its_last_value():
    config, *_ = show(
        "--config.model.hidden=(8,)", "--config.model.hidden=16", "--config.seed=3", "--config.seed=4"
    )
    assert config["model"]["hidden"] == [16] and config["seed"] == 4


def test_a_config_as_a_plain_argument_is_refused():
    assert "a config is given as --config=configs/memory/adding.py" in refused("configs/memory/adding.py")


def test_a_field_without_its_section_is_named():
    assert "the config field is --config.optim.learning_rate" in refused("--learning_rate=1")


BROKEN = {
    "def get_config(:": "line 1 raises SyntaxError",
    "x = 1": "has no function get_config",
    "def get_config():\n    return 1 / 0": "raises ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_config_file_is_one_line(text, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    assert BROKEN[text] in refused(f"--config={tmp_path / 'mine.py'}")


def test_a_variant_that_a_file_does_not_take_is_refused():
    assert "takes no variant: leave out :x" in refused("--config=configs/quickstart.py:x")


def test_what_the_terminal_cannot_show_is_escaped():
    code = "from lstm_jax import cli\ncli.launch(lambda rest: print('caf\\u00e9'), 'usage')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "caf\\xe9\n"
