"""The one exception for what a person can put right: bad data, a bad config, an impossible shape."""

__all__ = ["DirectoryInUse", "UserError"]


class UserError(Exception):
    """An input that a person can correct.

    The message is one line that says what was wrong, what is allowed, and what to try.
    `lstm_jax.cli` prints it without a traceback and exits non-zero; everything else
    that is raised is a fault of ours and keeps its traceback.
    """


class DirectoryInUse(UserError):
    """Another process writes the directory of the run; nothing is wrong with it, and later it can go on."""
