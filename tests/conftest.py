"""What all tests share: one CPU device, a compile cache, and a way to run code on eight devices.

The session has ONE device, as a user's laptop has: with eight, `training.loop.run` would cut every test's
batch in eight, and every computation would start thread pools for eight. Code for several devices runs in
its own process (fixture `on_devices`); put much into one script: each takes seconds to start.
"""

import ctypes
import gc
import importlib.metadata
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# By the environment, before jax is imported, so that the processes that tests start have them too.
os.environ.setdefault("MPLBACKEND", "Agg")
# Nearly all of the time goes into compiling programs that run for a millisecond: a third of it with these.
# XLA ends a process that names a flag it does not know, and the last one is of jaxlib 0.10 only.
FLAGS = [
    "backend_optimization_level=0",
    "llvm_disable_expensive_passes=true",
    "cpu_parallel_codegen_split_count=1",
]
if importlib.metadata.version("jaxlib").startswith("0.10."):
    FLAGS.append("cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(f"--xla_{flag}" for flag in FLAGS))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")


QUICK = {
    *("test_repository", "test_docstrings", "test_cli", "test_configs", "test_memory_configs", "test_fields"),
    *(
        "test_run_directory",
        "test_metrics",
        "test_provenance",
        "test_events",
        "test_objective",
        "test_forget_bias",
    ),
    *("test_sweep_define", "test_sweep_statistics", "test_corpora", "test_curves", "test_associative"),
}
"""Test files of `pytest -m quick`: the repository, configs, command lines and some of the mathematics."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of QUICK."""
    for item in items:
        if item.path.stem in QUICK:
            item.add_marker(pytest.mark.quick)


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    """Lets the compiled programs go where they fill 3 GB: each takes over 1 MB, and there are thousands."""
    yield
    pages = Path("/proc/self/statm")
    if pages.exists() and int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") > 3 * 2**30:
        sys.modules["jax"].clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # without it the C library keeps what is free


@pytest.fixture
def on_devices() -> Callable[..., str]:
    """(script, devices=8) -> its standard output; the test fails with its errors where it fails."""

    def run(script: str, devices: int = 8) -> str:
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "PYTHONPATH": path,
        }
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"on {devices} devices:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
