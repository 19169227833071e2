"""Members of a sweep, vmapped, one after another, and in torch."""

from collections.abc import Iterator

from sweep import measure

from checks import Row, Settings

__all__ = ["sweeps"]


def sweeps(settings: Settings) -> Iterator[Row]:
    """Yields a row for each width and number of members."""
    widths, members = ((4,), [1, 2]) if settings.miniature else ((32, 128, 650), [1, 4, 16, 64, 256])
    for hidden in widths:
        yield from measure(hidden, members, rounds=1 if settings.miniature else 2)
