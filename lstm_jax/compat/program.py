"""A file with programs of `jax.export` and the arrays they need, and its reader.

The reader needs jax and numpy, and nothing else of lstm_jax: this file may be copied to where a model serves.

    from lstm_jax.compat.program import Program  # or: from program import Program
    program = Program.load("small.program")
    carry = program.first_carry(batch=1)
    logits, carry = program.call("sequence", tokens, carry)  # tokens [T, B] int32 -> logits [T, B, V] float32
    logits, carry = program.call("step", tokens[-1], carry)  # [B] -> [B, V]; T and B may be any

The file is a zip, each entry with its checksum: `header.json` (names, dtypes, shapes, the vocabulary's
digest, versions), `programs/NAME` as `jax.export.Exported.serialize` wrote it, `params/NAME.npy`,
`carry/NAME.npy` for the first carry of one sequence, and `vocabulary.json` where there is one. "b" and "t" in
a shape are the batch and the time, which every call chooses anew.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

try:
    from lstm_jax.support.errors import UserError
except ImportError:  # a copy of this file by itself

    class UserError(Exception):  # type: ignore[no-redef]
        """What a person can put right."""


__all__ = ["FORMAT", "Program", "digest", "write_program"]

FORMAT = "lstm_jax program 1"


def digest(tokens: Any) -> str:
    """SHA-256 of a vocabulary: of its tokens as JSON."""
    return hashlib.sha256(json.dumps(list(tokens), ensure_ascii=False).encode()).hexdigest()


def write_program(
    path: str | os.PathLike[str],
    programs: Mapping[str, export.Exported],
    params: Mapping[str, Any],
    carry: Mapping[str, Any],
    *,
    inputs: tuple[str, tuple[int, ...]],
    about: Mapping[str, Any] = {},
    vocabulary: str = "",
) -> None:
    """Writes programs with their arrays; `Program.load` reads them.

    Args:
      path: of the file; written by one rename.
      programs: name -> exported (params, inputs, carry) -> (outputs, carry), where params and carry are flat
        dicts by name and "b" is the batch.
      params: name -> array.
      carry: name -> [1, ...], the first carry.
      inputs: dtype and shape of the inputs of one step of one sequence, e.g. ("int32", ()).
      about: what else the header says, in JSON's types.
      vocabulary: the text of a vocabulary file with "tokens", or "".

    Raises:
      UserError: the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "programs": {
            name: {
                "platforms": list(program.platforms),
                "inputs": [str(program.in_avals[-len(carry) - 1].dtype), *_shape(program, -len(carry) - 1)],
                "calling_convention_version": program.calling_convention_version,
            }
            for name, program in programs.items()
        },
        "params": {name: [str(leaf.dtype), *leaf.shape] for name, leaf in params.items()},
        "carry": {name: [str(leaf.dtype), "b", *leaf.shape[1:]] for name, leaf in carry.items()},
        "inputs": [inputs[0], *inputs[1]],
        "vocabulary": None,
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
        **about,
    }
    if vocabulary:
        tokens = json.loads(vocabulary)["tokens"]
        header["vocabulary"] = {"size": len(tokens), "sha256": digest(tokens)}
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
            file.writestr("header.json", json.dumps(header, indent=2, ensure_ascii=False))
            for name, program in programs.items():
                file.writestr(f"programs/{name}", bytes(program.serialize()))
            for kind, leaves in (("params", params), ("carry", carry)):
                for name, leaf in leaves.items():
                    file.writestr(f"{kind}/{name}.npy", _npy(leaf))
            if vocabulary:
                file.writestr("vocabulary.json", vocabulary)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space or choose another file"
        ) from error


def _shape(program: export.Exported, place: int) -> list[int | str]:
    return [size if isinstance(size, int) else str(size) for size in program.in_avals[place].shape]


def _npy(leaf: Any) -> bytes:
    # bfloat16 is no dtype of the npy format; the header knows the true one, and float32 holds it exactly.
    value = np.asarray(leaf)
    stored = io.BytesIO()
    np.save(stored, value.astype(np.float32) if value.dtype.kind == "V" else value, allow_pickle=False)
    return stored.getvalue()


class Program:
    """What `write_program` wrote, ready to be called. Make it by `load`.

    Attributes:
      header: the file's header.
      names: what can be called.
      vocabulary: the tokens by number, or None.
    """

    def __init__(
        self,
        header: dict[str, Any],
        calls: dict[str, Callable[..., Any]],
        params: dict[str, jax.Array],
        carry: dict[str, jax.Array],
        vocabulary: list[str] | None,
    ):
        self.header, self.names, self.vocabulary = header, list(calls), vocabulary
        self._calls, self._params, self._carry = calls, params, carry
        self._path: str | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Program":
        """Reads a file.

        Raises:
          UserError: it cannot be read, is damaged, is none of ours, or its programs need a newer jax.
        """
        try:
            with zipfile.ZipFile(path) as file:
                header = json.loads(file.read("header.json"))
                if header.get("format") != FORMAT:
                    raise UserError(f"{path}: format {header.get('format')!r}; this reader knows {FORMAT!r}")
                params, carry = (
                    {
                        name: _array(file.read(f"{kind}/{name}.npy"), entry, f"{path}: {kind}/{name}")
                        for name, entry in header[kind].items()
                    }
                    for kind in ("params", "carry")
                )
                blobs = {name: file.read(f"programs/{name}") for name in header["programs"]}
                vocabulary = None
                if header["vocabulary"] is not None:
                    vocabulary = json.loads(file.read("vocabulary.json"))["tokens"]
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
            raise UserError(f"{path} is not a whole file of exported programs ({error})") from error
        if vocabulary is not None and digest(vocabulary) != header["vocabulary"]["sha256"]:
            raise UserError(f"{path}: the vocabulary is not the one that the header names")
        calls: dict[str, Callable[..., Any]] = {}
        for name, blob in blobs.items():
            try:
                calls[name] = jax.jit(export.deserialize(bytearray(blob)).call)
            except Exception as error:  # jaxlib raises what it likes for a blob of another version
                raise UserError(
                    f"{path}: the program {name!r}, written by jax {header['versions']['jax']}, cannot be "
                    f"read by jax {jax.__version__} ({str(error).splitlines()[0]}): use that version or later"
                ) from error
        program = cls(header, calls, params, carry, vocabulary)
        program._path = os.path.abspath(path)
        return program

    def __reduce__(self) -> tuple:
        """Pickles the path of the file: another process reads it there."""
        if self._path is None:
            raise TypeError("a Program can be pickled where it was made by Program.load")
        return type(self).load, (self._path,)

    def first_carry(self, batch: int) -> dict[str, jax.Array]:
        """The carry before the first step of `batch` sequences, by name, each [B, ...]."""
        return {name: jnp.broadcast_to(leaf, (batch, *leaf.shape[1:])) for name, leaf in self._carry.items()}

    def call(
        self, name: str, inputs: Any, carry: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Runs a program: for "step" one step of B sequences, for "sequence" T steps, time first.

        Args:
          name: one of `names`.
          inputs: [B, ...] or [T, B, ...], as `header["programs"][name]["inputs"]` says.
          carry: of `first_carry`, or what another call returned.

        Returns:
          logits [B, O] or [T, B, O] float32, and the carry after the last step.

        Raises:
          UserError: no such program, an array of another shape or dtype (the message has both), or a token
            that the vocabulary does not have.
        """
        if name not in self._calls:
            raise UserError(f"there is no program {name!r} in this file: it has {', '.join(self.names)}")
        dtype, *shape = self.header["programs"][name]["inputs"]
        inputs = jnp.asarray(inputs)
        if inputs.dtype.kind == np.dtype(dtype).kind:
            inputs = inputs.astype(dtype)
        sizes: dict[str, int] = {}
        _check("inputs", inputs, [dtype, *shape], sizes)
        concrete = not isinstance(inputs, jax.core.Tracer)
        if self.vocabulary is not None and inputs.dtype.kind == "i" and concrete:
            least, most = int(inputs.min()), int(inputs.max())
            if least < 0 or most >= len(self.vocabulary):
                wrong = least if least < 0 else most
                raise UserError(
                    f"token {wrong} is not in the vocabulary, which has 0 to {len(self.vocabulary) - 1}"
                )
        if set(carry) != set(self.header["carry"]):
            raise UserError(f"the carry has {sorted(carry)}, and {sorted(self.header['carry'])} are needed")
        for leaf, entry in self.header["carry"].items():
            _check(f"carry {leaf}", carry[leaf], entry, sizes)
        return self._calls[name](self._params, inputs, dict(carry))


def _array(stored: bytes, entry: list[Any], name: str) -> jax.Array:
    dtype, *shape = entry
    value = np.load(io.BytesIO(stored), allow_pickle=False)
    if list(value.shape[1:]) != shape[1:] or ("b" not in shape and list(value.shape) != shape):
        raise UserError(f"{name} has shape {list(value.shape)}, and the header says {shape}")
    return jnp.asarray(value, dtype)


def _check(name: str, value: Any, entry: list[Any], sizes: dict[str, int]) -> None:
    """Raises UserError unless `value` is of that dtype and shape, "b" and "t" being the same everywhere."""
    dtype, *shape = entry
    found = list(value.shape)
    fits = len(found) == len(shape) and str(value.dtype) == dtype
    if fits:
        for size, wanted in zip(found, shape, strict=True):
            wanted = sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted
            fits = fits and size == wanted and size > 0
    if not fits:
        known = "".join(f", {letter} = {size}" for letter, size in sizes.items())
        raise UserError(
            f"{name} is {value.dtype}{found}, and {dtype}[{', '.join(map(str, shape))}] is needed{known}"
        )
