"""A figure names its commit only where it is known."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_jax.runs import provenance as module
from lstm_jax.runs.provenance import commit_of, hardware, provenance, versions


def git(directory: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *arguments],
        cwd=directory, env=environment, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text("1\n")
    (tmp_path / ".gitignore").write_text("ignored\n")
    git(tmp_path, "add", "package/a.py", ".gitignore")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def test_commit_of_a_clean_and_of_a_changed_tree(repository):
    file = repository / "package" / "a.py"
    commit = git(repository, "rev-parse", "HEAD")
    assert commit_of(file) == (commit, False)
    (repository / "ignored").write_text("")
    assert commit_of(file) == (commit, False)
    (repository / "new.py").write_text("")
    assert commit_of(file) == (commit, True)  # a new file can change a figure as well
    (repository / "new.py").unlink()
    file.write_text("2\n")
    assert commit_of(file) == (commit, True)


def test_a_file_the_repository_does_not_track_has_no_commit(repository):
    installed = repository / "ignored" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "b.py").write_text("")
    assert commit_of(installed / "b.py") == (None, None)


def test_no_repository_and_no_git_give_none(tmp_path, repository, monkeypatch):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "a.py").write_text("")
    assert commit_of(outside / "a.py") == (None, None)
    assert commit_of(outside / "missing.py") == (None, None)
    monkeypatch.setenv("PATH", str(outside))
    assert commit_of(repository / "package" / "a.py") == (None, None)


def test_a_hooks_git_dir_does_not_mislead(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert commit_of(repository / "package" / "a.py")[0] == git(repository, "rev-parse", "HEAD")


def test_versions_are_the_installed_ones():
    import jax
    import numpy

    found = versions()
    assert found["jax"] == jax.__version__ and found["numpy"] == numpy.__version__
    assert {"lstm_jax", "jaxlib", "flax", "optax", "orbax-checkpoint"} <= set(found)


def test_provenance_is_whole_and_json():
    found = provenance()
    assert list(found) == ["commit", "dirty", "versions", "python", "hardware", "date"]
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found["date"])


class Device:
    platform = "gpu"
    device_kind = "NVIDIA H100"


class Cpu:
    platform = "cpu"
    device_kind = "cpu"


def test_hardware_names_the_accelerators_and_the_processor(monkeypatch):
    monkeypatch.setattr(module.jax, "devices", lambda: [Device(), Device()])
    assert hardware() == "2 x NVIDIA H100"
    monkeypatch.setattr(module.jax, "devices", lambda: [Cpu()])
    assert re.fullmatch(r"\S.*, \d+ cores?", hardware())
    monkeypatch.setattr(module.jax, "devices", lambda: [Cpu()] * 8)
    assert hardware().endswith(" as 8 devices")
