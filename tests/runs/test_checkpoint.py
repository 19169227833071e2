"""Checkpoints: what comes back is what went in, whatever was killed, cut, flipped or filled up."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

from lstm_jax.runs.checkpoint import Checkpoints
from lstm_jax.support.errors import UserError


class Carry(NamedTuple):
    c: jax.Array
    h: jax.Array


@struct.dataclass
class State:
    step: jax.Array
    params: Any
    opt_state: Any
    carry: Any
    average: Any


def make_state(seed: int, hidden: int = 4) -> State:
    keys = jax.random.split(jax.random.key(seed), 4)
    params = {
        "layers": ({"w_h": jax.random.normal(keys[0], (hidden, 4, hidden)), "b": jnp.ones((4, hidden))},),
        # random bits do not compress: the data files then hold the values themselves
        "embedding": jax.random.normal(keys[1], (40, 500)),
        "head": {"w": jax.random.normal(keys[1], (hidden, 7)).astype(jnp.bfloat16)},
    }
    carry = (Carry(jax.random.normal(keys[2], (2, hidden)), jax.random.normal(keys[3], (2, hidden))),)
    return State(jnp.asarray(seed, jnp.int32), params, optax.adam(1e-3).init(params), carry, None)


def assert_same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def saved(directory: Path, *steps: int, keep: int = 3) -> Path:
    with Checkpoints(directory, keep) as checkpoints:
        for step in steps:
            checkpoints.save_latest(step, make_state(step), {"step": step})
    return directory / "latest"


def data_files(step_directory: Path) -> list[Path]:
    return [path for path in step_directory.rglob("*") if path.is_file() and path.parent.name == "d"]


# ---- round trips


def test_round_trip_bit_for_bit(tmp_path):
    state = make_state(3)
    host = {"valid": [5.1, float("inf"), 0.1 + 0.2], "best": float("nan"), "n": {"d": [1, None, True, "é"]}}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(state) is None
        checkpoints.save_latest(3, state, host)
    with Checkpoints(tmp_path) as checkpoints:
        back, host_back = checkpoints.restore_latest(jax.eval_shape(lambda: make_state(0)))
    assert isinstance(back, State) and isinstance(back.carry[0], Carry)
    assert_same(back, state)
    assert host_back.pop("best") != host["best"]  # nan
    assert host_back == {key: value for key, value in host.items() if key != "best"}


def test_host_takes_numpy_and_jax_scalars_and_refuses_what_json_would_change(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_latest(1, make_state(1), {"a": np.float32(0.1), "b": jnp.int32(3), "c": (1, 2)})
        _, host = checkpoints.restore_latest(make_state(0))
        assert host == {"a": float(np.float32(0.1)), "b": 3, "c": [1, 2]}
        with pytest.raises(TypeError, match=r"host\.x: key 3"):
            checkpoints.save_latest(2, make_state(1), {"x": {3: 1}})
        with pytest.raises(TypeError, match=r"host\.x\[0\]: set"):
            checkpoints.save_latest(2, make_state(1), {"x": [{1}]})


def test_python_numbers_numpy_and_empty_arrays_come_back_as_they_were(tmp_path):
    state = {"n": 3, "x": 0.1, "flag": True, "np": np.arange(3.0), "empty": jnp.zeros((0, 2), jnp.bfloat16)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_latest(1, state, {})
        back, _ = checkpoints.restore_latest(state)
    assert (back["n"], back["x"], back["flag"]) == (3, 0.1, True)
    assert [type(back[name]) for name in ("n", "x", "flag", "np")] == [int, float, bool, np.ndarray]
    assert back["np"].dtype == np.float64 and (back["np"] == state["np"]).all()
    assert back["empty"].shape == (0, 2) and back["empty"].dtype == jnp.bfloat16


def test_donating_or_overwriting_after_save_changes_nothing_stored(tmp_path):
    bump = jax.jit(lambda x: x + 1, donate_argnums=0)
    device, host = jnp.arange(2_000_000, dtype=jnp.float32), np.zeros(2_000_000)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_latest(1, {"device": device, "host": host}, {})
        for _ in range(5):
            device = bump(device)
        host[:] = 7
        back, _ = checkpoints.restore_latest({"device": device, "host": host})
    assert (np.asarray(back["device"]) == np.arange(2_000_000, dtype=np.float32)).all()
    assert (back["host"] == 0).all()


def test_only_the_newest_are_kept_and_nothing_is_left_in_the_trash(tmp_path):
    latest = saved(tmp_path, 1, 2, 3, 4, keep=2)
    assert sorted(path.name for path in latest.iterdir()) == ["3", "4"]


def test_keep_below_one_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"train\.keep is 0"):
        Checkpoints(tmp_path, keep=0)


# ---- the best


def test_best_has_its_own_directory_and_is_replaced(tmp_path):
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        with pytest.raises(UserError, match="no best parameters"):
            checkpoints.restore_best(make_state(0).params)
        for step in (10, 20, 15, 15):  # a step may come back after a fall to an older checkpoint
            checkpoints.save_best(step, make_state(step).params, {"nats": step / 10})
            checkpoints.save_latest(step, make_state(step), {})
        checkpoints.save_latest(40, make_state(40), {})
        params, info = checkpoints.restore_best(make_state(0).params)
        assert_same(params, make_state(15).params)
        assert info == {"nats": 1.5, "step": 15}
    assert len(list((tmp_path / "best").iterdir())) == 1
    assert sorted(path.name for path in (tmp_path / "latest").iterdir()) == ["40"]


def test_the_state_is_committed_only_after_the_best_it_speaks_of(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_best(1, make_state(1).params, {})
        checkpoints.save_latest(1, make_state(1), {"best": 1})
        assert (tmp_path / "best" / "1").is_dir()  # before anything waited for the state


def test_read_only_makes_and_removes_nothing(tmp_path):
    missing = tmp_path / "none"
    with Checkpoints(missing, read_only=True) as checkpoints:
        assert checkpoints.restore_latest(make_state(0)) is None
        with pytest.raises(UserError, match="no best parameters"):
            checkpoints.restore_best({})
        with pytest.raises(ValueError, match="reading only"):
            checkpoints.save_latest(1, make_state(1), {})
    assert not missing.exists()
    latest = saved(tmp_path, 1)
    running = latest / "2.orbax-checkpoint-tmp"  # what another process is just writing
    running.mkdir()
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert_same(checkpoints.restore_latest(make_state(0))[0], make_state(1))
    assert running.is_dir()
    saved(tmp_path, 2)
    assert not running.exists()  # while a writer takes it as left over from a kill


# ---- damage


def empty_directory(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def half_deleted(path: Path) -> None:
    shutil.rmtree(path / "leaves")


def no_orbax_metadata(path: Path) -> None:
    (path / "_CHECKPOINT_METADATA").unlink()
    (path / "manifest" / "metadata").unlink()


def no_leaf_metadata(path: Path) -> None:
    (path / "leaves" / "_METADATA").unlink()


def truncated(path: Path) -> None:
    for file in data_files(path):
        os.truncate(file, file.stat().st_size // 2)


def zeroed(path: Path) -> None:
    for file in data_files(path):
        file.write_bytes(bytes(file.stat().st_size))


def one_bit_flipped(path: Path) -> None:
    file = max(data_files(path), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def torn_manifest(path: Path) -> None:
    file = path / "manifest" / "metadata"
    os.truncate(file, file.stat().st_size // 2)


DAMAGE = [
    empty_directory, half_deleted, no_orbax_metadata, no_leaf_metadata, truncated, zeroed, one_bit_flipped,
    torn_manifest,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_checkpoint_is_passed_over_with_one_line(tmp_path, damage, caplog):
    latest = saved(tmp_path, 10, 20, 30)
    damage(latest / "30")
    with caplog.at_level(logging.INFO), Checkpoints(tmp_path, keep=3) as checkpoints:
        state, host = checkpoints.restore_latest(make_state(0))
        assert_same(state, make_state(20))
        assert host == {"step": 20}
        (record,) = [record for record in caplog.records if record.levelno >= logging.INFO]
        assert "checkpoint 30" in record.getMessage() and "step 20" in record.getMessage()
        assert "\n" not in record.getMessage()
        # The run goes on, below and up to the number of the damaged one.
        for step in (25, 30):
            checkpoints.save_latest(step, make_state(step + 1), {"step": step})
        checkpoints.wait()
        assert checkpoints.restore_latest(make_state(0))[1] == {"step": 30}
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        state, host = checkpoints.restore_latest(make_state(0))
    assert_same(state, make_state(31))
    assert host == {"step": 30}
    # The damaged one did not take a good one's place among the three.
    assert sorted(path.name for path in latest.iterdir()) == ["20", "25", "30"]


def test_with_all_damaged_it_refuses_to_start_from_the_beginning(tmp_path):
    latest = saved(tmp_path, 1, 2)
    half_deleted(latest / "1")
    empty_directory(latest / "2")
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(UserError, match=r"none of the checkpoints .*\(2, 1; .* another workdir"),
    ):
        checkpoints.restore_latest(make_state(0))


def test_a_damaged_best_is_an_error_that_says_so(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_best(1, make_state(1).params, {})
    one_bit_flipped(tmp_path / "best" / "1")
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"best can be read.*checksum"):
        checkpoints.restore_best(make_state(0).params)


def test_a_step_saved_twice_restores_the_second(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for seed, step in ((1, 5), (2, 5), (3, 4)):
            checkpoints.save_latest(step, make_state(seed), {"seed": seed})
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        state, host = checkpoints.restore_latest(make_state(0))
    assert_same(state, make_state(3))
    assert host == {"seed": 3}


# ---- mismatches


def with_params(params: Any) -> State:
    return make_state(0).replace(params=params)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            lambda p: {**p, "head": {"w": jnp.zeros((4, 8), jnp.bfloat16)}},
            r"'params/head/w' is bfloat16\[4, 7\] .* needs bfloat16\[4, 8\]",
        ),
        (
            lambda p: {**p, "head": {"w": jnp.zeros((4, 7))}},
            r"'params/head/w' is bfloat16\[4, 7\] .* needs float32\[4, 7\]",
        ),
        (lambda p: {**p, "extra": jnp.zeros(3)}, r"lacks leaf 'params/extra'"),
        (lambda p: {name: p[name] for name in ("layers", "embedding")}, r"has leaf 'params/head/w', unknown"),
    ],
)
def test_a_mismatch_names_the_leaf_and_both(tmp_path, target, message):
    saved(tmp_path, 1, 2)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=message) as caught:
        checkpoints.restore_latest(with_params(target(make_state(0).params)))
    assert "\n" not in str(caught.value)


# ---- devices

ELSEWHERE = """
import sys, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from lstm_jax.runs.checkpoint import Checkpoints
mesh = Mesh(np.array(jax.devices()), ("data",))
everywhere = NamedSharding(mesh, P())
where = {"w": everywhere, "carry": NamedSharding(mesh, P("data")), "n": everywhere}
w, carry = jnp.arange(6.0).reshape(2, 3), jnp.arange(16.0).reshape(8, 2)
state = {"w": w, "carry": carry, "n": jnp.int32(5)}
with Checkpoints(sys.argv[1]) as checkpoints:
    if sys.argv[2] == "save":
        checkpoints.save_latest(5, jax.device_put(state, where), {})
    else:
        target = jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), state, where)
        back, _ = checkpoints.restore_latest(target)
        assert jax.tree.map(lambda a: a.sharding, back) == where
        assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), back, state)))
        print("restored on", len(jax.devices()))
"""


@pytest.mark.parametrize(("before", "after"), [(4, 1), (1, 4)])
def test_restores_on_another_number_of_devices(tmp_path, before, after):
    for devices, what in ((before, "save"), (after, "restore")):
        flags = f"--xla_force_host_platform_device_count={devices}"
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, str(tmp_path), what],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert f"restored on {after}" in done.stdout


def test_without_a_sharding_arrays_are_not_pinned_to_a_device(tmp_path):
    saved(tmp_path, 1)
    with Checkpoints(tmp_path) as checkpoints:
        for target in (make_state(0), jax.eval_shape(lambda: make_state(0))):
            back, _ = checkpoints.restore_latest(target)
            assert not any(leaf.committed for leaf in jax.tree.leaves(back))


# ---- full disk

FULL = """
import resource, sys, numpy as np
from lstm_jax.runs.checkpoint import Checkpoints
from lstm_jax.support.errors import UserError
small, large = {"w": np.zeros(10)}, {"w": np.random.default_rng(0).normal(size=100_000)}
with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save_latest(1, small, {})
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        checkpoints.save_latest(2, large, {})
        checkpoints.wait()
    except UserError as error:
        print(error)
with Checkpoints(sys.argv[1]) as checkpoints:
    print(checkpoints.restore_latest(small) is not None)
"""


def test_a_file_too_large_for_the_system_is_one_clear_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    error, restored = done.stdout.splitlines()
    assert "cannot save a checkpoint" in error and "File too large" in error
    assert restored == "True"
    assert done.stderr == ""  # orbax's four tracebacks of the same error stay away


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Failed to write 5 bytes to file 11: No space [os_error_code='28']"),
    ],
)
def test_a_full_disk_is_a_user_error_and_earlier_checkpoints_stand(tmp_path, monkeypatch, error):
    latest = saved(tmp_path, 1)

    def full(*_: Any, **__: Any) -> None:
        raise error

    refused = pytest.raises(UserError, match=r"No space left on device; the earlier checkpoints stand")
    with refused, Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoints._latest._manager, "save", full)
        checkpoints.save_latest(2, make_state(2), {})
    monkeypatch.undo()
    assert [path.name for path in latest.iterdir()] == ["1"]
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(checkpoints.restore_latest(make_state(0))[0], make_state(1))


def test_another_failure_of_orbax_is_not_taken_for_a_full_disk(tmp_path, monkeypatch):
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"), Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoints._latest._manager, "save", broken)
        checkpoints.save_latest(2, make_state(2), {})


# ---- kills

KILLED = """
import sys, numpy as np, jax.numpy as jnp
from lstm_jax.runs.checkpoint import Checkpoints
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    step, found = 0, checkpoints.restore_latest({"w": np.zeros((8, 100_000), np.float32), "step": 0})
    if found is not None:
        step = found[0]["step"]
    print("ready", flush=True)
    while True:
        step += 1
        w = np.random.default_rng(step).random((8, 100_000), np.float32)
        checkpoints.save_best(step, {"w": jnp.asarray(w[0])}, {"of": step})
        checkpoints.save_latest(step, {"w": jnp.asarray(w), "step": step}, {"best": step})
"""


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    """Six kills or more of a run that is resumed after each; what stands is complete and never goes back."""
    moments = random.Random(0)
    seen, kills = 0, 0
    while kills < 6 or not seen:  # on a busy machine the first save may take longer than any of six waits
        kills += 1
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(moments.uniform(0.2, 0.7) * max(1, kills - 5))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with Checkpoints(tmp_path, read_only=True) as checkpoints:
            found = checkpoints.restore_latest({"w": np.zeros((8, 100_000), np.float32), "step": 0})
            if found is None:  # killed before the first was complete
                assert seen == 0
                continue
            state, host = found
            expected = np.random.default_rng(state["step"]).random((8, 100_000), np.float32)
            assert state["w"].tobytes() == expected.tobytes()
            assert state["step"] >= seen
            best, info = checkpoints.restore_best({"w": np.zeros(100_000, np.float32)})
            assert info["step"] == info["of"] >= host["best"]
            expected = np.random.default_rng(info["step"]).random((8, 100_000), np.float32)[0]
            assert best["w"].tobytes() == expected.tobytes()
            seen = state["step"]


# ---- noise


def test_orbax_says_nothing_under_absl_and_its_lone_errors_pass(tmp_path):
    program = """
        import logging, sys
        from absl import app
        def main(_):
            import numpy as np
            from lstm_jax.runs.checkpoint import Checkpoints
            with Checkpoints(sys.argv[1]) as checkpoints:
                checkpoints.save_latest(1, {"w": np.zeros(3)}, {})
                checkpoints.restore_latest({"w": np.zeros(3)})
            logging.info("of ours")
            absl = logging.getLogger("absl")
            for level in (logging.WARNING, logging.ERROR):
                where = "/x/orbax/checkpoint/a.py"
                absl.handle(absl.makeRecord("absl", level, where, 1, "lone %s", (level,), None))
        app.run(main, argv=["x"])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and lines[0].endswith("of ours") and lines[1].endswith("lone 40")
