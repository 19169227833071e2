"""Texts of your own: CSV, TSV or JSON lines, three files or one."""

import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lstm_jax.corpora.corpus import SPLITS
from lstm_jax.corpora.data_dir import named_directory
from lstm_jax.corpora.labelled.texts import LabelledTexts, Row, checked, split_documents
from lstm_jax.corpora.reading import check_unicode, find_files, read_json, read_text
from lstm_jax.support.errors import UserError

__all__ = ["FORMATS", "load", "read_rows"]

Records = Iterator[tuple[str, Mapping[str, Any]]]
"""(where it stands, "row 1" below a header or "line 1", its fields)."""


def _csv(text: str, path: Path) -> Records:
    return _separated(text, path, delimiter=",", strict=True)


def _tsv(text: str, path: Path) -> Records:
    return _separated(text, path, delimiter="\t", quoting=csv.QUOTE_NONE)


def _separated(text: str, path: Path, **dialect: Any) -> Records:
    limit = csv.field_size_limit(sys.maxsize)  # a text may be long
    try:
        lines = csv.reader(io.StringIO(text, newline=""), **dialect)
        header = next((fields for fields in lines if any(field.strip() for field in fields)), [])
        if repeated := {name for name in header if name.strip() and header.count(name) > 1}:
            raise UserError(f"{path} has more than one column {min(repeated)!r}: give each a name of its own")
        for number, fields in enumerate((fields for fields in lines if fields), 1):
            if len(fields) != len(header):
                raise UserError(
                    f"{path}, row {number} has {len(fields)} fields where the header has {len(header)} "
                    f"({', '.join(header)}): quote what has the separator in it"
                )
            yield f"row {number}", dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}, line {lines.line_num}: {error}; check the quotes, or use JSON lines"
        ) from error
    finally:
        csv.field_size_limit(limit)


def _jsonl(text: str, path: Path) -> Records:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = read_json(line)
        except UserError as error:
            raise UserError(f"{path}, line {number} is {error}: one object a line") from error
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number} is not a JSON object: one object with its fields a line")
        yield f"line {number}", record


FORMATS: dict[str, Callable[[str, Path], Records]] = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl}
"""Ending of a file name -> (its text, its path) -> its rows."""


def read_rows(path: Path, text: str, label: str, document: str = "") -> list[Row]:
    """The rows of a file; its first line names the columns (JSON lines name them in each).

    Args:
      path: its ending says the format.
      text, label: columns. A label may be a word or a whole number.
      document: column; where it is "", or a row has none in it, the document is the text itself, so that
        equal texts are one document.

    Raises:
      UserError: another format, an unreadable or empty file, a missing or repeated column, a row without a
        label.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"{path} is of no known format: name it {', '.join('*' + end for end in FORMATS)}")
    rows = []
    for where, fields in FORMATS[path.suffix](read_text(path), path):
        place = f"{path}, {where}"
        for column in filter(None, (text, label, document)):
            if column not in fields:
                raise UserError(
                    f"{place} has no column {column!r}, it has {', '.join(map(str, fields))}: say which by "
                    "task.text_column, task.label_column, task.document_column"
                )
        content, kind = fields[text], fields[label]
        if not isinstance(content, str):
            raise UserError(f"{place}: the text must be a string, not {content!r}")
        if not isinstance(kind, str | int) or not str(kind).strip():
            raise UserError(f"{place}: the label must be a word or a whole number, not {kind!r}")
        for column in filter(None, (text, label, document)):
            check_unicode(str(fields[column]), f"{place}: {column!r}")
        part_of = fields[document] if document else None
        own = part_of is None or not str(part_of).strip()
        rows.append(Row(content, str(kind).strip(), content if own else str(part_of), place))
    if not rows:
        raise UserError(f"{path} has no rows below its header: every split needs at least one text")
    return rows


def load(
    data_dir: str, text: str, label: str, document: str, held_out: float, split_seed: int
) -> LabelledTexts:
    """Three files train, valid and test in a directory, or one file of which `held_out` is held out twice.

    Three files are taken as they are; one is split by whole documents, label by label.

    Raises:
      UserError: nothing to read, or as `read_rows` and `texts.checked`.
    """
    path = named_directory(data_dir)
    if path is None:
        raise UserError(
            "task.source=files needs texts: give by task.data_dir, or the environment variable "
            "LSTM_JAX_DATA, a directory with train, valid and test as .csv, .tsv or .jsonl, or one such file"
        )
    if path.suffix in FORMATS and not path.exists():
        raise UserError(
            f"there is no file {path}: correct task.data_dir, or give a directory with three files"
        )
    if path.is_file():
        rows = split_documents(read_rows(path, text, label, document), held_out, split_seed)
        facts = {"source": "files", "split": f"{path.name}: {held_out:g} of the documents twice"}
    else:
        files = find_files(path, tuple("{}" + end for end in FORMATS), "files")
        rows = {split: read_rows(files[split], text, label, document) for split in SPLITS}
        facts = {"source": "files", "split": ", ".join(file.name for file in files.values())}
    return checked(rows, "punctuation", facts)
