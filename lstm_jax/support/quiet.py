"""Keeps the libraries' running commentary off the terminal, and lets their errors through."""

import logging

__all__ = ["quiet_libraries"]


def _worth_showing(record: logging.LogRecord) -> bool:
    """False for orbax's commentary: some 50 lines a save at level INFO, all of it through absl's logger.

    Its error records that carry an exception are dropped too, because that exception is raised to us as
    well, and it prints the same traceback four times; an error without an exception passes.
    """
    if "/orbax/" not in record.pathname.replace("\\", "/"):
        return True
    return record.levelno >= logging.ERROR and not record.exc_info


def _heard_already(record: logging.LogRecord) -> bool:
    """False where asyncio tells of a read that failed beside the one whose error was raised to us.

    orbax reads leaves at once and gathers the first failure alone; of each other asyncio logs pages when its
    task is collected.
    """
    text = record.getMessage()
    return not ("exception was never retrieved" in text and "tensorstore_spec" in text)


def quiet_libraries() -> None:
    """Silences orbax below errors and jax below warnings. Calling it again changes nothing."""
    tasks_logger = logging.getLogger("asyncio")
    if _heard_already not in tasks_logger.filters:
        tasks_logger.addFilter(_heard_already)
    absl_logger = logging.getLogger("absl")
    if _worth_showing not in absl_logger.filters:
        absl_logger.addFilter(_worth_showing)
    jax_logger = logging.getLogger("jax")
    if jax_logger.level == logging.NOTSET:  # a level that somebody chose stays
        jax_logger.setLevel(logging.WARNING)
