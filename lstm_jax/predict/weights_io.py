"""A run's best parameters as a safetensors file, a run's directory from such a file, and its programs.

`write_run_weights` and `run_from_weights` are inverses: a file that `write_run_weights` made also holds the
config and the vocabulary. A file from elsewhere needs a run of the same model as a template, and the tokens
of its rows if its vocabulary has another order. `text_encoding` defines what the rows stand for.
"""

import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from lstm_jax.compat.export import CANNOT, PLATFORMS, WHAT, export_model, first_carry, flat
from lstm_jax.compat.leaves import LAYOUTS
from lstm_jax.compat.program import write_program
from lstm_jax.compat.safetensors import WeightsFile, params_from_file, read_weights, write_params
from lstm_jax.compat.torch import module_of
from lstm_jax.predict.run import Run
from lstm_jax.predict.text_encoding import TextEncoding, parse_text_encoding, reorder_rows, text_encoding_of
from lstm_jax.runs.checkpoint import Checkpoints, read_best
from lstm_jax.runs.directory import RunPaths, write_json
from lstm_jax.runs.provenance import provenance
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params

__all__ = ["export_run", "load_init_params", "run_from_weights", "write_run_weights"]


def write_run_weights(run: Run, path: str | os.PathLike[str], layout: str = "torch") -> WeightsFile:
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


def run_from_weights(
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
      UserError: the file cannot be read or does not fit, or does not say what model it is, or is of other
        labels than `like`; it is PyTorch's, which has no such cell; or the directory is in use, or cannot be
        made.
    """
    file, target = read_weights(path), Path(os.path.realpath(Path(directory).expanduser()))
    if like is None and "config" not in file.about:
        raise UserError(
            f"{file.path} does not say what model it holds: give --like=DIR, a run of the same model "
            "and corpus"
        )
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"{target} exists already: choose another directory for the new run")
        # Built near its place and moved there whole, so that a misfit leaves nothing behind.
        near = next(above for above in target.parents if above.exists())
        with tempfile.TemporaryDirectory(dir=near, prefix=f".{target.name}-") as beside:
            made = _built(file, Path(beside) / "run", like, tokens)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made.root, target)
    except OSError as error:
        raise UserError(
            f"cannot make {target}: {error.strerror}; choose another directory for the new run"
        ) from error
    return Run(target)


def _built(file: WeightsFile, root: Path, like: Run | None, tokens: Sequence[str] | None) -> RunPaths:
    """Creates the directory for `run_from_weights`. Raises UserError, and whatever writing raises."""
    made, step = RunPaths(root), _step(file)
    made.root.mkdir()
    write_json(made.config, like.config if like else _config(file))
    if like is not None and like.paths.vocabulary.exists():
        made.vocabulary.write_text(like.paths.vocabulary.read_text(encoding="utf-8"), encoding="utf-8")
    elif like is None and "vocabulary" in file.about:
        _text_encoding(file)
        made.vocabulary.write_text(file.about["vocabulary"], encoding="utf-8")
    run = Run(made.root)
    try:
        ours, shapes = text_encoding_of(run), jax.eval_shape(run.model.init, jax.random.key(0))
    except (UserError, TypeError, ValueError, KeyError, AttributeError) as error:
        if like is not None:
            raise
        said = " ".join(str(error).split()) if isinstance(error, UserError) else repr(error)
        raise UserError(f"{file.path}: no model can be made from its metadata ({said})") from error
    if file.layout == "torch":  # other cells, and other functions, can have the leaves of PyTorch's
        module_of(run.config["model"].get("cell", {}))
    params = reorder_rows(
        params_from_file(file, shapes), _text_encoding(file), ours, str(file.path), tokens=tokens, exact=True
    )
    with Checkpoints(made.checkpoints) as checkpoints:
        checkpoints.save_best(step, params, {"from": str(file.path)})
    return made


def load_init_params(source: str, like: Params, encoding: TextEncoding | None = None) -> Params:
    """The parameters that `train.init_from` names, to start from.

    Args:
      source: the directory of a run, whose best ones are taken, or a safetensors file.
      like: parameters that tell structure and place.
      encoding: of the run that starts, where it reads text: the rows are put into its order.

    Raises:
      UserError: there are none, or they do not fit `like`; or they are of other tokens or labels, or of texts
        that were read otherwise.
    """
    if Path(source).expanduser().is_file():
        file = read_weights(source)
        return reorder_rows(params_from_file(file, like), _text_encoding(file), encoding, str(file.path))
    return reorder_rows(read_best(source, like)[0], text_encoding_of(Run(source)), encoding, source)


def _text_encoding(file: WeightsFile) -> TextEncoding | None:
    if "vocabulary" not in file.about:
        return None
    return parse_text_encoding(file.about["vocabulary"], f"{file.path}: the metadata 'vocabulary'")


def _config(file: WeightsFile) -> dict[str, Any]:
    try:
        found = json.loads(file.about["config"])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file.path}: the metadata 'config' is not JSON ({error})") from error
    sections = found if isinstance(found, dict) else {}
    for section, field in (("task", "name"), ("model", "hidden"), ("model", "cell")):
        values = sections.get(section)
        if not isinstance(values, dict) or field not in values:
            raise UserError(f"{file.path}: the metadata 'config' is no config of a run: no {section}.{field}")
    return sections


def _step(file: WeightsFile) -> int:
    """The training step in the metadata; 0 where there is none."""
    text = file.about.get("step", "0")
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UserError(f"{file.path}: the metadata 'step' is {text[:20]!r}, which is no number of steps")
    return int(text)


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
