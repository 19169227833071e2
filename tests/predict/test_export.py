"""Exported programs: equal to the model at any batch and length, read by jax alone, misfits refused."""

import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import MODEL, RECALL, write_run

from lstm_jax import cells, models
from lstm_jax.compat import export, program
from lstm_jax.compat.program import Program, write_program
from lstm_jax.predict import Run, weights_io
from lstm_jax.support.errors import UserError

V, H = 7, 4
TOKENS = ("int32", ())
VOCABULARY = json.dumps({"tokens": ["the", "cat", "sat", "on", "a", "mat", "<eos>"]})


def recurrent(cell="lstm", **options):
    options = {"hidden": (H, H) if cell == "lstm" else (H,), "embedding": 3} | options
    model = models.recurrent(vocab=V, outputs=V, cell={"name": cell}, backend="scan", **options)
    return model, model.init(jax.random.key(0))


def stored(path, model, params, inputs=TOKENS, vocabulary="", **options):
    programs = export.export_model(model, params, inputs, **options)
    carry = export.first_carry(model, params)
    write_program(path, programs, export.flat(params), carry, inputs=inputs, vocabulary=vocabulary)
    return Program.load(path)


def close(actual, desired):
    assert jnp.shape(actual) == jnp.shape(desired) and actual.dtype == desired.dtype
    tolerance = 1e-6 if actual.dtype == jnp.float32 else 1e-2
    np.testing.assert_allclose(np.float32(actual), np.float32(desired), rtol=tolerance, atol=tolerance)


def compare(loaded, model, params, steps, batch):
    """The program against the model: `steps` at once from a carry that has seen some, then one by one."""
    tokens = jax.random.randint(jax.random.key(steps), (steps, batch), 0, V)
    expected = model.apply(params, tokens, model.carry(params, batch))
    carry = loaded.first_carry(batch)
    jax.tree.map(close, carry, export.flat(model.carry(params, batch)))
    for name in loaded.names:
        if name == "sequence":
            logits, after = loaded.call("sequence", tokens, carry)
        else:
            after, rows = carry, []
            for row in tokens:
                logits, after = loaded.call("step", row, after)
                rows.append(logits)
            logits = jnp.stack(rows)
        close(logits, expected.logits)
        jax.tree.map(close, after, export.flat(expected.carry))


@pytest.fixture(scope="module")
def lstm(tmp_path_factory):
    """(path, program, model, params) of a language model of two layers, both ways."""
    path = tmp_path_factory.mktemp("export") / "lstm.program"
    model, params = recurrent()
    return path, stored(path, model, params, vocabulary=VOCABULARY), model, params


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (5, 3), (3, 4)])
def test_one_file_serves_any_batch_and_length(lstm, steps, batch):
    _, loaded, model, params = lstm
    assert loaded.names == ["step", "sequence"]
    compare(loaded, model, params, steps, batch)


@pytest.mark.parametrize("cell", [cell for cell in cells.CELLS if cell != "lstm"])
def test_every_cell_with_its_carry_in_and_out(cell, tmp_path):
    model, params = recurrent(cell)
    loaded = stored(tmp_path / "p", model, params, what=("sequence",), platforms=("cpu",))
    compare(loaded, model, params, 4, 2)


def test_features_and_bfloat16(tmp_path):
    model = models.recurrent(
        input_dim=2, outputs=3, hidden=(H,), cell={"name": "gru"}, dtype="bfloat16", backend="scan"
    )
    params = model.init(jax.random.key(0))
    loaded = stored(tmp_path / "p", model, params, ("float32", (2,)), what=("sequence",), platforms=("cpu",))
    xs = jax.random.normal(jax.random.key(1), (3, 2, 2))
    expected = model.apply(params, xs, model.carry(params, 2))
    logits, carry = loaded.call("sequence", xs, loaded.first_carry(2))
    close(logits, expected.logits)
    jax.tree.map(close, carry, export.flat(expected.carry))


def test_a_run_that_was_trained_unrolled(tmp_path):
    unrolled = MODEL | {"hidden": [4], "scan_unroll": 2}
    run = Run(write_run(tmp_path / "run", RECALL, unrolled))
    weights_io.export_run(run, tmp_path / "p", what=("sequence",), platforms=("cpu",))
    model = models.make_model(vocab=run.task.vocab, outputs=run.task.outputs, **unrolled)
    loaded = Program.load(tmp_path / "p")
    tokens = jax.random.randint(jax.random.key(1), (5, 2), 0, run.task.vocab)
    logits, _ = loaded.call("sequence", tokens, loaded.first_carry(2))
    close(logits, model.apply(run.params, tokens, model.carry(run.params, 2)).logits)


ONCE = {
    "classifier": {"hidden": (H,)},
    "dynamic_memory": {"hidden": (H,), "facts": {"sentence_end": 1, "question_end": 2}},
}
"""The models that carry nothing, and what they need to be made."""


@pytest.mark.parametrize("name", [name for name in models.MODELS if name != "recurrent"])
def test_the_models_that_answer_once(name, tmp_path):
    model = models.make_model(name, vocab=V, outputs=3, embedding=3, backend="scan", **ONCE[name])
    params = model.init(jax.random.key(0))
    assert (name, "step") in export.CANNOT
    with pytest.raises(UserError, match=f"the model '{name}' has no 'step': it .*; export sequence"):
        export.export_model(model, params, TOKENS, name=name)
    loaded = stored(tmp_path / "p", model, params, name=name, what=("sequence",), platforms=("cpu",))
    tokens = jnp.array([[3, 4], [1, 1], [5, 6], [2, 2]])
    logits, carry = loaded.call("sequence", tokens, {})
    assert carry == {}
    close(logits, model.apply(params, tokens, ()).logits)


def test_the_reasons_are_of_models_and_programs_that_there_are():
    assert {name for name, _ in export.CANNOT} <= set(models.MODELS)
    assert {what for _, what in export.CANNOT} <= set(export.WHAT)


def test_the_reader_needs_jax_alone(lstm, tmp_path):
    """A copy of the one file, where lstm_jax cannot be imported, and with 64-bit types on."""
    path, loaded, *_ = lstm
    shutil.copy(program.__file__, tmp_path / "program.py")
    script = (
        "import sys; sys.modules['lstm_jax'] = None\n"
        "import jax; jax.config.update('jax_enable_x64', True)\n"
        "from program import Program; import numpy as np\n"
        f"p = Program.load({str(path)!r})\n"
        "logits, carry = p.call('sequence', np.array([[1, 2], [3, 4]]), p.first_carry(2))\n"
        "print(p.vocabulary[1], logits.dtype, *np.asarray(logits).ravel())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    word, dtype, *numbers = done.stdout.split()
    assert (word, dtype) == ("cat", "float32")
    logits, _ = loaded.call("sequence", np.array([[1, 2], [3, 4]]), loaded.first_carry(2))
    np.testing.assert_allclose(np.float32(numbers), logits.ravel(), rtol=1e-6, atol=1e-6)


def test_the_header_says_what_there_is(lstm):
    path, loaded, *_ = lstm
    with zipfile.ZipFile(path) as file:
        header = json.loads(file.read("header.json"))
    assert header["carry"] == {f"{layer}/{leaf}": ["float32", "b", H] for layer in (0, 1) for leaf in "ch"}
    assert header["params"]["embedding"] == ["float32", V, 3]
    assert header["programs"]["sequence"]["inputs"] == ["int32", "t", "b"]
    assert header["programs"]["step"]["platforms"] == ["cpu", "cuda", "tpu"]
    assert header["vocabulary"] == {"size": V, "sha256": program.digest(loaded.vocabulary)}


def test_what_does_not_fit_a_call_is_refused_with_both_shapes(lstm):
    _, loaded, *_ = lstm
    carry = loaded.first_carry(2)
    for name, inputs, given, message in (
        (
            "sequence",
            np.zeros((3, 3), np.int32),
            carry,
            r"carry 0/c is float32\[2, 4\], and float32\[b, 4\].*b = 3",
        ),
        ("sequence", np.zeros(3, np.int32), carry, r"inputs is int32\[3\], and int32\[t, b\] is needed"),
        ("step", np.zeros(2, np.float32), carry, r"inputs is float32\[2\], and int32\[b\] is needed"),
        (
            "step",
            np.zeros(2, np.int32),
            {"0/c": carry["0/c"]},
            r"the carry has \['0/c'\], and \['0/c', '0/h'",
        ),
        ("train", np.zeros(2, np.int32), carry, "no program 'train' in this file: it has step, sequence"),
    ):
        with pytest.raises(UserError, match=message):
            loaded.call(name, inputs, given)


def test_damaged_and_foreign_files_are_refused(lstm, tmp_path):
    path, *_ = lstm
    whole = path.read_bytes()
    place = whole.index(b"params/layers/0/w_h.npy") + 200
    for content, message in (
        (whole[: len(whole) // 2], "is not a whole file"),
        (whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], "is not a whole file.*CRC"),
        (b"no", "is not a whole file"),
    ):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(UserError, match=message):
            Program.load(tmp_path / "bad")
    with pytest.raises(UserError, match=r"cannot read .*none"):
        Program.load(tmp_path / "none")


def rewritten(path, to, **changed):
    """A copy of a file with other entries, `header` being changed in place by a function."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            new.writestr(name, changed.get(Path(name).stem, lambda content: content)(old.read(name)))


def test_a_file_of_another_format_version_or_vocabulary_is_refused(lstm, tmp_path):
    path, *_ = lstm
    for changed, message in (
        ({"header": lambda text: text.replace(b"program 1", b"program 9")}, "format 'lstm_jax program 9'"),
        ({"step": lambda blob: b"\0" * 64}, "the program 'step', written by jax .*, cannot be read by"),
        ({"vocabulary": lambda text: text.replace(b"cat", b"dog")}, "the vocabulary is not the one"),
    ):
        rewritten(path, tmp_path / "other", **changed)
        with pytest.raises(UserError, match=message):
            Program.load(tmp_path / "other")


def test_exporting_refuses_what_it_cannot():
    model, params = recurrent()
    for options, message in (
        ({"what": ("steps",)}, "unknown program 'steps': did you mean 'step'"),
        ({"what": ()}, "no program is named: give one or more of step, sequence"),
        ({"platforms": ("gpu",)}, "unknown platform 'gpu'.*cuda"),
        ({"platforms": []}, "no platform is named: give one or more of cpu, cuda, tpu"),
    ):
        with pytest.raises(UserError, match=message):
            export.export_model(model, params, TOKENS, **options)
    with pytest.raises(UserError, match="backend 'loop' is for one platform"):
        export.export_model(model._replace(backend="loop"), params, TOKENS)


def test_a_token_that_there_is_not_is_refused(lstm):
    _, loaded, *_ = lstm
    for wrong in (len(loaded.vocabulary), 10**6, -1):
        with pytest.raises(UserError, match=f"token {wrong} is not in the vocabulary"):
            loaded.call("step", np.array([wrong], np.int32), loaded.first_carry(1))


def test_a_program_is_pickled_by_its_file(lstm):
    path, loaded, *_ = lstm
    back = pickle.loads(pickle.dumps(Program.load(path)))
    given = ("step", np.array([1], np.int32), loaded.first_carry(1))
    np.testing.assert_array_equal(back.call(*given)[0], loaded.call(*given)[0])
