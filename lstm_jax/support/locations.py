"""Where the configs and the launchers are: in the clone, or inside the installed package."""

from pathlib import Path

__all__ = ["locate_config", "project_root"]


def project_root() -> Path:
    """Returns the directory that holds `configs/` and `experiments/`.

    That is the clone for an editable install, and `lstm_jax/bundled` for a wheel (see pyproject.toml).
    """
    package = Path(__file__).parents[1]
    clone = package.parent
    return clone if (clone / "configs" / "base.py").is_file() else package / "bundled"


def locate_config(value: str) -> str:
    """Returns the path of a config file, `:variant` included, for what a user typed.

    Args:
      value: `configs/zaremba.py:small`, or short `zaremba:small` or `memory/adding`. A path from the
        working directory comes first, then one below `configs/` of the clone or of the installed package.

    Returns:
      The path found, or `value` itself if there is no such file.
    """
    path, colon, variant = value.partition(":")
    names = [path, f"{path}.py", f"configs/{path}", f"configs/{path}.py"]
    for directory in (Path(), project_root()):
        for name in names:
            if (directory / name).is_file():
                return f"{directory / name}{colon}{variant}"
    return value
