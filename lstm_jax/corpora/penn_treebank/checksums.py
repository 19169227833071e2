"""The registered files of Penn Treebank: `checksums.tsv`, in the format of TFDS, without TFDS."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["Entry", "read_checksums"]


class Entry(NamedTuple):
    """One registered file."""

    url: str
    size: int
    sha256: str
    filename: str


def read_checksums() -> list[Entry]:
    """The lines of checksums.tsv: train, valid, test."""
    lines = Path(__file__).with_name("checksums.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    return [Entry(url, int(size), sha256, name) for url, size, sha256, name in rows]
