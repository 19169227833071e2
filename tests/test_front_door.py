"""What `import lstm_jax` offers, and the console script, also from a wheel without the clone."""

import os
import re
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import pytest
from conftest import ROOT

import lstm_jax
from lstm_jax.__main__ import COMMANDS
from lstm_jax.support.locations import locate_config, project_root
from lstm_jax.training.fields import RANGES


def python(*arguments, cwd=ROOT, path=ROOT):
    environment = os.environ | {"PYTHONPATH": str(path), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, timeout=300
    )


def test_the_package_offers_its_names_and_nothing_else():
    assert dir(lstm_jax) == ["__version__", "cells", "load", "models", "tasks", "train", "unroll"]
    with pytest.raises(AttributeError, match="has no attribute 'sells'; it has cells, load"):
        _ = lstm_jax.sells


def test_importing_the_package_imports_nothing_heavy():
    done = python("-c", "import sys, lstm_jax; print(sorted({'jax', 'numpy', 'absl'} & set(sys.modules)))")
    assert done.stdout == "[]\n", done.stderr


def test_unroll_is_the_function_and_the_package():
    cell = lstm_jax.cells.lstm(5, forget_bias=1.0)
    params = cell.init(jax.random.key(0), 3)
    xs = jnp.ones((2, 4, 3))
    from lstm_jax.unroll import unroll

    assert (lstm_jax.unroll(cell, params, xs).ys == unroll(cell, params, xs).ys).all()


def test_every_command_has_its_launcher_and_every_launcher_its_command():
    launchers = {file.stem for file in (ROOT / "experiments").glob("*.py")}
    assert {launcher for launcher, _ in COMMANDS.values()} == launchers


def test_a_config_is_found_by_its_short_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for typed in ("zaremba:small", "zaremba.py:small", "configs/zaremba.py:small"):
        assert locate_config(typed) == f"{ROOT / 'configs/zaremba.py'}:small"
    assert locate_config("memory/adding") == str(ROOT / "configs/memory/adding.py")
    assert locate_config("nope:small") == "nope:small"
    (tmp_path / "zaremba.py").write_text("")
    assert locate_config("zaremba:small") == "zaremba.py:small"  # the user's own file comes first
    assert project_root() == ROOT


def test_a_wrong_command_is_one_line_with_a_suggestion():
    done = python("-m", "lstm_jax", "lst")
    assert done.returncode == 2 and done.stderr.startswith(
        "error: unknown command 'lst': did you mean 'list'?"
    )
    assert done.stderr.count("\n") == 1
    assert python("-m", "lstm_jax", "--help").stdout.startswith("usage: lstm-jax COMMAND")


@pytest.mark.parametrize("what", ["cells", "tasks", "backends", "configs", "fields"])
def test_the_lists_name_every_entry_and_what_it_is(what):
    done = python("-m", "lstm_jax", "list", what)
    assert done.returncode == 0, done.stderr
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    if what == "cells":
        assert list(rows) == list(lstm_jax.cells.CELLS)
    if what == "configs":
        assert {"zaremba", "memory/adding", "sweeps/greff"} <= set(rows)
    if what == "fields":
        assert "global norm of the gradient" in rows["optim.clip"] and set(rows) == set(RANGES)
    assert what == "fields" or all(len(text) > 10 for text in rows.values())


def test_a_wheel_trains_without_the_clone(tmp_path):
    """The main job, shortened, from the files of a wheel alone, in a directory that is not the clone."""
    build = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "lstm_jax/py.typed" in names and not [name for name in names if name.endswith(".png")]
    short = ["--config.task.batch=200", "--config.model.hidden=(8,)", "--config.model.embedding=8"]
    done = python(
        "-m", "lstm_jax", "train", "--config=quickstart", "--config.train.epochs=1",
        *short, "--config.evaluate.sample=0", "--config.model.tied=False", "--workdir=run",
        cwd=tmp_path, path=tmp_path / "site",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "result.json").is_file() and "static perplexity" in done.stdout


def test_the_ten_lines_of_the_readme_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = python("-c", block)
    assert done.returncode == 0 and done.stdout.startswith("(100, 8, 256)"), done.stderr
