"""Weights as a safetensors file, in PyTorch's layout or in ours, with what tells whether they fit.

The metadata of a file (all text, as the format demands): `format`, `layout` ("torch" or "lstm_jax"), and of
a run's also `cell`, `gates`, `module`, `tied`, `vocabulary_size`, `step`, and as JSON `config`, `vocabulary`.
A file without metadata, as PyTorch's users write it, is read in PyTorch's layout.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lstm_jax.compat.leaves import fit
from lstm_jax.compat.torch import model_from_torch, model_to_torch
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params
from lstm_jax.support.pytrees import leaf_names, named_leaves
from lstm_jax.support.registry import check_name

__all__ = ["LAYOUTS", "WeightsFile", "params_from_file", "read_weights", "write_params", "write_weights"]

FORMAT = "lstm_jax weights 1"
LAYOUTS = ("torch", "lstm_jax")
"""PyTorch's names and shapes, for the cells that it has too; or our own, for every cell and model."""


class WeightsFile(NamedTuple):
    """What a safetensors file holds.

    Attributes:
      tensors: name -> array, as stored.
      about: the metadata, name -> text; empty where the file has none.
      path: of the file, for messages.
    """

    tensors: dict[str, np.ndarray]
    about: dict[str, str]
    path: Path

    @property
    def layout(self) -> str:
        """One of LAYOUTS. Raises UserError where the file names another."""
        layout = self.about.get("layout", "torch")
        check_name(layout, LAYOUTS, f"layout of {self.path}")
        return layout


def _safetensors() -> Any:
    try:
        import safetensors.numpy  # an extra: only who exchanges weights needs it
    except ImportError as error:
        raise UserError(
            f"safetensors cannot be imported ({error}): pip install -e '.[interchange]'"
        ) from error
    return safetensors


def write_weights(path: str | os.PathLike[str], tensors: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Writes arrays and metadata as a safetensors file, by one rename.

    Raises:
      UserError: safetensors is not installed, or the file cannot be written.
    """
    path = Path(path)
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in tensors.items()}
    content = _safetensors().numpy.save(arrays, {"format": FORMAT, **about})
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space or choose another file"
        ) from error


def read_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """The arrays and the metadata of a safetensors file.

    Raises:
      UserError: safetensors is not installed, there is no such file, or it is not one.
    """
    path, library = Path(path).expanduser(), _safetensors()
    try:
        with library.safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
            about = file.metadata() or {}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; give a safetensors file") from error
    except (library.SafetensorError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a safetensors file of plain arrays ({error})") from error
    return WeightsFile(tensors, about, path)


def write_params(
    path: str | os.PathLike[str],
    params: Params,
    model: Mapping[str, Any],
    layout: str = "torch",
    about: Mapping[str, str] = {},
) -> None:
    """Writes a model's parameters; `params_from_file` reads them.

    Args:
      path: of the file; its directories are made.
      params: of `models.recurrent` for "torch", of any model for "lstm_jax".
      model: its config section `model`.
      layout: one of LAYOUTS.
      about: further metadata.

    Raises:
      UserError: an unknown layout, a model that PyTorch does not have, parameters that are not finite, or
        what `write_weights` refuses.
    """
    check_name(layout, LAYOUTS, "layout")
    tensors = model_to_torch(params, model) if layout == "torch" else named_leaves(params)
    shapes = {name: tuple(leaf.shape) for name, leaf in tensors.items()}
    write_weights(path, fit(tensors, shapes, "the parameters"), {**about, "layout": layout})


def params_from_file(file: WeightsFile | str | os.PathLike[str], like: Params) -> Params:
    """The parameters of a safetensors file, float32, in the structure of `like`.

    Args:
      file: what `read_weights` returned, or the path of a safetensors file, in either layout.
      like: parameters, or their shapes; a leaf with a sharding tells where its array is put.

    Raises:
      UserError: the file cannot be read, or a leaf is missing, unknown, of another shape, or not of finite
        floating-point numbers.
    """
    file = file if isinstance(file, WeightsFile) else read_weights(file)
    if file.layout == "torch":
        params = model_from_torch(file.tensors, like, str(file.path))
    else:
        wanted = {name: tuple(leaf.shape) for name, leaf in named_leaves(like).items()}
        leaves = fit(file.tensors, wanted, str(file.path))
        params = jax.tree.map(lambda name: leaves[name], leaf_names(like))
    return jax.tree.map(
        lambda leaf, at: jax.device_put(leaf, at.sharding if getattr(at, "committed", True) else None),
        params,
        like,
    )
