"""A run's best parameters as a safetensors file, a run's directory from such a file, and its programs.

`write_run` and `make_run` are each other's inverse: a file of ours holds config and vocabulary too. A file of
somebody else's needs a run of the same model to go by, and the tokens of its rows where its vocabulary has
another order.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstm_jax.checkpoint import Checkpoints, read_best
from lstm_jax.compat.export import CANNOT, PLATFORMS, WHAT, export_model, first_carry, flat
from lstm_jax.compat.leaves import LAYOUTS
from lstm_jax.compat.program import write_program
from lstm_jax.compat.safetensors import WeightsFile, params_from_file, read_weights, write_params
from lstm_jax.compat.torch import module_of
from lstm_jax.corpora import Vocabulary, read_vocabulary
from lstm_jax.errors import UserError
from lstm_jax.notation import Params
from lstm_jax.predict.run import Run
from lstm_jax.provenance import provenance
from lstm_jax.run_directory import RunPaths, write_json

__all__ = ["export_run", "first_params", "make_run", "read_tokens", "write_run"]


def write_run(run: Run, path: str | os.PathLike[str], layout: str = "torch") -> WeightsFile:
    """Writes the best parameters of a run, with its config and vocabulary, and returns what the file holds.

    Args:
      run: of any task.
      path: of the file.
      layout: "torch" for PyTorch, for the cells that it has; "lstm_jax" for any cell and model, to be read
        here.

    Raises:
      UserError: nothing was evaluated yet, PyTorch has no such model, or the file cannot be written.
    """
    model, cell = run.config["model"], run.config["model"].get("cell", {})
    about = {
        "cell": cell.get("name", ""),
        "tied": json.dumps(bool(model.get("tied"))),
        "step": str(run.step),
        "config": json.dumps(run.config, ensure_ascii=False),
    }
    if run.paths.vocabulary.exists():
        about["vocabulary_size"] = str(len(run.vocabulary))
        about["vocabulary"] = run.paths.vocabulary.read_text(encoding="utf-8")
    if layout == "torch":
        module, options = module_of(cell)
        about["module"] = f"torch.nn.{module}({', '.join(f'{k}={v}' for k, v in options.items())})"
        about["gates"] = ",".join(LAYOUTS[cell["name"]].gates)
        about["biases"] = "bias_ih: all of it; bias_hh: zeros, but for the candidate gate of a GRU"
    write_params(path, run.params, model, layout, about)
    return read_weights(path)


def make_run(
    path: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    like: Run | None = None,
    tokens: Sequence[str] | None = None,
) -> Run:
    """A run's directory whose best parameters are those of a file; for all that reads a run.

    Args:
      path: a safetensors file in either layout.
      directory: of the new run; it must not exist, or be empty.
      like: a run with the config and the vocabulary to take. None: those in the file.
      tokens: the tokens of the file's rows in order. None: those in the file, else as `like` has them.

    Raises:
      UserError: the file cannot be read or does not fit, or does not say what model it is; it is PyTorch's,
        which has no such cell; or the directory is in use.
    """
    file, target = read_weights(path), Path(directory).expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists already: choose another directory for the new run")
    if like is None and "config" not in file.about:
        raise UserError(
            f"{file.path} does not say what model it holds: give --like=DIR, a run of the same model "
            "and corpus"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there whole, so that a misfit leaves nothing behind.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as beside:
        made = RunPaths(Path(beside) / "run")
        made.root.mkdir()
        write_json(made.config, like.config if like else _json(file, "config"))
        if like is not None and like.paths.vocabulary.exists():
            made.vocabulary.write_text(like.paths.vocabulary.read_text(encoding="utf-8"), encoding="utf-8")
        elif "vocabulary" in file.about:
            made.vocabulary.write_text(file.about["vocabulary"], encoding="utf-8")
        run = Run(made.root)
        if file.layout == "torch":  # other cells, and other functions, can have the leaves of PyTorch's
            module_of(run.config["model"].get("cell", {}))
        vocabulary = run.vocabulary if made.vocabulary.exists() else None
        params = _fitting(file, jax.eval_shape(run.model.init, jax.random.key(0)), vocabulary, tokens)
        with Checkpoints(made.checkpoints) as checkpoints:
            checkpoints.save_best(int(file.about.get("step", 0)), params, {"from": str(file.path)})
        os.replace(made.root, target)
    return Run(target)


def first_params(source: str, like: Params, vocabulary: Vocabulary | None = None) -> Params:
    """The parameters that `train.init_from` names, to start from.

    Args:
      source: the directory of a run, whose best ones are taken, or a safetensors file.
      like: parameters that tell structure and place.
      vocabulary: of the run that starts, where it has one: the rows of a file that brings its own are put
        into this order.

    Raises:
      UserError: there are none, or they do not fit `like`; or the vocabulary is another.
    """
    if Path(source).expanduser().is_file():
        return _fitting(read_weights(source), like, vocabulary, None)
    other = RunPaths(source).vocabulary
    if vocabulary is not None and other.exists() and read_vocabulary(other).tokens != vocabulary.tokens:
        raise UserError(
            f"the run in {source} has another vocabulary, so that its rows mean other tokens: start from a "
            "run on the same corpus, or write it with experiments/convert.py and give the file"
        )
    return read_best(source, like)[0]


def _fitting(
    file: WeightsFile, like: Params, vocabulary: Vocabulary | None, tokens: Sequence[str] | None
) -> Params:
    """The parameters of a file as `like`, the rows of its tokens in the order of `vocabulary`."""
    params = params_from_file(file, like)
    if tokens is None and "vocabulary" in file.about:
        tokens = _json(file, "vocabulary").get("tokens")
    if vocabulary is None or tokens is None or tuple(tokens) == vocabulary.tokens:
        return params
    index = {token: number for number, token in enumerate(tokens)}
    missing = [token for token in vocabulary.tokens if token not in index]
    if missing or len(tokens) != len(vocabulary):
        lacks = f"lacks {missing[0]!r}" if missing else "has others besides, or one twice"
        raise UserError(
            f"{file.path}: its vocabulary of {len(tokens)} tokens {lacks}, and that of the run has "
            f"{len(vocabulary)}: take the same corpus, or give the tokens of the file's rows (--vocabulary)"
        )
    order = np.array([index[token] for token in vocabulary.tokens])
    head = dict(params["head"])
    if len(head["b"]) == len(order):  # a classifier reads words and does not predict them
        head["b"] = head["b"][order]
        if "w" in head:
            head["w"] = head["w"][:, order]
    return {**params, "embedding": params["embedding"][order], "head": head}


def _json(file: WeightsFile, name: str) -> dict[str, Any]:
    try:
        found = json.loads(file.about[name])
    except ValueError as error:
        raise UserError(f"{file.path}: the metadata {name!r} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{file.path}: the metadata {name!r} is no JSON object")
    return found


def export_run(
    run: Run,
    path: str | os.PathLike[str],
    what: Sequence[str] = (),
    platforms: Sequence[str] = PLATFORMS,
) -> dict[str, int]:
    """Writes the programs of a run, with its best parameters and vocabulary, for `compat.program` to read.

    Args:
      run: of any task.
      path: of the file.
      what: of compat.export.WHAT; (): all that its model can.
      platforms: of compat.export.PLATFORMS.

    Returns:
      Bytes of each program.

    Raises:
      UserError: as `export_model` and `write_program`; or nothing was evaluated yet.
    """
    name = run.config["model"].get("name", "recurrent")
    reads_text = run.is_language_model or run.is_classifier
    tokens = reads_text or run.task.vocab is not None
    inputs: tuple[str, tuple[int, ...]] = ("int32", ())
    if not tokens:
        inputs = ("float32", (run.task.input_dim or 1,))
    programs = export_model(
        run.model,
        run.params,
        inputs,
        name=name,
        what=what or [one for one in WHAT if (name, one) not in CANNOT],
        platforms=platforms,
    )
    where = provenance()
    write_program(
        path,
        programs,
        flat(run.params),
        first_carry(run.model, run.params),
        inputs=inputs,
        about={
            "task": run.task_name,
            "model": name,
            "cell": run.config["model"].get("cell", {}).get("name"),
            "step": run.step,
            "versions": {**where["versions"], "python": where["python"]},
            "commit": where["commit"],
            "date": where["date"],
        },
        vocabulary=run.paths.vocabulary.read_text(encoding="utf-8") if reads_text else "",
    )
    return {one: len(program.mlir_module_serialized) for one, program in programs.items()}


def read_tokens(path: str | Path) -> tuple[str, ...]:
    """The tokens of a vocabulary.json of ours, or the lines of a text file, one token each.

    Raises:
      UserError: the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the vocabulary {path}: {error}") from error
    return read_vocabulary(path).tokens if text.startswith("{") else tuple(text.splitlines())
