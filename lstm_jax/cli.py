"""Command lines: flags, config checks, and the one place where errors become exit codes.

jax is imported only once the flags are right, so that `--help` and a misspelt field answer at once.
"""

import ast
import difflib
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from lstm_jax.runs.directory import flat_config
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.support.errors import UserError
from lstm_jax.support.locations import locate_config

__all__ = [
    "config_and_workdir",
    "define",
    "figure_print",
    "guarded",
    "join_processes",
    "launch",
    "read_flags",
    "with_config",
    "with_figures",
    "with_processes",
]

EXIT_USAGE = 2
"""Exit status of everything that a UserError reports."""


def with_config(default: str) -> None:
    """Gives the command `--config` (`file.py[:variant]`, and `--config.section.field=value`) and `--workdir`.

    `--config` itself is defined by `launch`: ml_collections reads the command line while defining it.
    """
    _DEFAULT_CONFIG.append(default)
    define(
        "string",
        "workdir",
        "",
        "Directory of the run; started again in it, a run goes on. Default: runs/NAME.",
    )


def with_figures() -> None:
    """Gives the command `--format` and `--columns`, for `figure_print`."""
    define("string", "format", "png", "File formats of the figures, with commas between: png, pdf, svg.")
    define("integer", "columns", 2, "Columns of a page that a figure spans: 1 (3.4 inches) or 2 (6.4).")


def figure_print() -> Any:
    """Returns the `analysis.files.Print` that the flags ask for.

    Raises:
      UserError: an unknown format, or another number of columns.
    """
    from lstm_jax.analysis.files import Print

    return Print.of(flags.FLAGS.format, flags.FLAGS.columns)


def with_processes() -> None:
    """Gives the command `--distributed` and what goes with it, for `join_processes`."""
    define(
        "bool",
        "distributed",
        False,
        "Train one run with several processes, each started with this same command; the batch is cut over "
        "the devices of all. SLURM and other clusters tell the flags below by themselves.",
    )
    define("string", "coordinator", "", "HOST:PORT where process 0 listens, which all must be able to reach.")
    define("integer", "processes", 0, "How many processes there are; 0: as the cluster says.")
    define("integer", "process_id", -1, "Index of this one, from 0; -1: as the cluster says.")
    define("float", "join_timeout", 300.0, "Seconds to wait until all processes have come.")


def join_processes() -> None:
    """Joins the other processes where `--distributed` asks for it; to be called before jax takes a device.

    Raises:
      UserError: they cannot be joined; where they did not come, the process ends at once with that line.
    """
    values = flags.FLAGS
    if not values.distributed:
        given = [n for n in ("coordinator", "processes", "process_id") if values[n].present]
        if given:
            raise UserError(f"--{given[0]} goes with --distributed: add that, or leave it out")
        return
    from lstm_jax.runs import distributed

    try:
        distributed.start(values.coordinator, values.processes, values.process_id, values.join_timeout)
    except distributed.Alone as error:
        # An ordinary exit would wait for jax, which still waits for the others.
        os._exit(_fail(str(error), EXIT_USAGE))


def _define_config(default: str, argv: Sequence[str]) -> None:
    """Defines --config, after a look at it alone: ml_collections meets an unknown field with a traceback."""
    alone = flags.FlagValues()
    config_flags.DEFINE_config_file("config", default, flag_values=alone, sys_argv=[])
    chosen = next(
        (a.split("=", 1)[1] for a in reversed(argv) if a.lstrip("-").startswith("config=")), default
    )
    try:
        _check_defines_get_config(chosen.partition(":")[0])
        alone([argv[0], *(a for a in argv[1:] if a.lstrip("-").startswith("config="))])
        config: Any = alone["config"].value
        config.keys()  # a file that could not be loaded raises only when its config is used
    except OSError as error:
        raise UserError(
            f"no config file {chosen.partition(':')[0]}: give --config=configs/NAME.py from the root of the "
            "repository, or a short name such as zaremba:small"
        ) from error
    except UserError:
        raise
    except Exception as error:  # whatever the code of the file raises, some of it inside a flags.Error
        raise UserError(_why_not(chosen, error)) from error
    for name in _overrides(argv):
        _check_field(config, name)
    config_flags.DEFINE_config_file(
        "config", default, "Experiment: configs/NAME.py[:variant].", sys_argv=list(argv)
    )


def _check_defines_get_config(path: str) -> None:
    """Raises UserError for a file without the name get_config, of which ml_collections takes the default."""
    if os.path.isfile(path) and path.endswith(".py"):
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        if not any("get_config" in ast.unparse(node) for node in tree.body):
            raise UserError(
                f"{path} has no function get_config: it must define get_config() that returns a ConfigDict"
            )


def _why_not(chosen: str, error: Exception) -> str:
    """One line on why a config file gives no config; a flags.Error has a traceback's text in its message."""
    path, _, variant = chosen.partition(":")
    text = " ".join(str(error).split())
    if "get_config() takes" in text:
        return f"{path} takes no variant: leave out :{variant}"
    if "get_config() missing" in text:
        return f"{path} needs a variant: give --config={path}:NAME"
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
    message = error.msg if isinstance(error, SyntaxError) else text
    return f"{path}{line} raises {type(error).__name__}: {message}; correct the file"


def _last_of_each(arguments: Sequence[str]) -> list[str]:
    """The arguments; of several that set one field only the last: ml_collections would join tuples."""
    last: dict[str, int] = {}
    for index, argument in enumerate(arguments):
        if argument.lstrip("-").startswith(("config.", "noconfig.")):
            last[argument.lstrip("-").removeprefix("no").partition("=")[0]] = index
    chosen = set(last.values())
    return [
        argument
        for index, argument in enumerate(arguments)
        if index in chosen or not argument.lstrip("-").startswith(("config.", "noconfig."))
    ]


def _overrides(arguments: Sequence[str]) -> list[str]:
    """The dotted field names overridden on the command line."""
    bodies = [argument.lstrip("-") for argument in arguments if argument.startswith("-")]
    return [b.split("=", 1)[0].split(".", 1)[1] for b in bodies if b.startswith(("config.", "noconfig."))]


def _check_field(config: ConfigDict, name: str) -> None:
    """Raises UserError unless the dotted `name` is a field of `config`."""
    section: Any = config
    walked: list[str] = []
    for part in name.split("."):
        where = ".".join(walked) or "the config"
        if not isinstance(section, ConfigDict):
            raise UserError(
                f"unknown config field {name!r}: {where} is a value and has no fields; "
                f"try --config.{where}=VALUE"
            )
        if part not in section:
            near = difflib.get_close_matches(part, list(section), n=1)
            hint = f"did you mean {'.'.join([*walked, near[0]])!r}? " if near else ""
            fields = ", ".join(sorted(section))
            raise UserError(f"unknown config field {name!r}: {hint}fields of {where}: {fields}")
        walked.append(part)
        section = section[part]
    if isinstance(section, ConfigDict):
        raise UserError(
            f"config field {name!r} is a section: set one of its fields: {', '.join(sorted(section))}"
        )


def read_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; returns the positional arguments.

    Raises:
      UserError: an unknown flag, config file, variant or field, or a value of the wrong type, in one line.
    """
    try:
        # --config goes first, wherever it was typed: its fields must be known before their values come.
        first = [a for a in argv[1:] if a.lstrip("-").startswith("config=")]
        rest = _last_of_each([a for a in argv[1:] if a not in first])
        first = [f"{flag}={locate_config(path)}" for flag, _, path in (a.partition("=") for a in first)]
        argv = [argv[0], *first, *rest]
        for default in _DEFAULT_CONFIG:
            _define_config(locate_config(default), argv)
        return flags.FLAGS(list(argv))[1:]
    except (flags.Error, OSError) as error:
        text = " ".join(str(error).replace("config_config", "").split())
        text += _field_hint(text)
        raise UserError(f"{text}; see --help, and configs/ for the experiments") from error


def _field_hint(text: str) -> str:
    """For an unknown flag that is a config field without its section, how to write it."""
    unknown = text.partition("Unknown command line flag '")[2].partition("'")[0]
    for default in _DEFAULT_CONFIG if unknown else []:
        names = [name for name, _ in flat_config(_config_of(default).to_dict())]
        fields = [name for name in names if name.rpartition(".")[2] == unknown]
        if fields:
            return f"; the config field is --config.{fields[0]}"
    return ""


def _config_of(path: str) -> ConfigDict:
    alone = flags.FlagValues()
    config_flags.DEFINE_config_file("config", locate_config(path), flag_values=alone, sys_argv=[])
    alone(["", f"--config={locate_config(path)}"])
    return alone["config"].value


def _name_of(config_path: str) -> str:
    """`configs/zaremba.py:small` -> `zaremba-small`."""
    path, _, variant = config_path.partition(":")
    name = os.path.splitext(os.path.basename(path))[0]
    return f"{name}-{variant.replace(',', '-')}" if variant else name


def config_and_workdir() -> tuple[ConfigDict, str]:
    """The parsed config and the run's directory (`--workdir`, or runs/NAME)."""
    path = config_flags.get_config_filename(flags.FLAGS["config"])
    return flags.FLAGS.config, flags.FLAGS.workdir or os.path.join("runs", _name_of(path))


def _start_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("lstm_jax").setLevel(logging.INFO)


def _fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return status


def guarded(main: Callable[[], None]) -> int:
    """Runs `main`; what a person can put right becomes one line on stderr and a non-zero status."""
    try:
        main()
    except UserError as error:
        return _fail(str(error), EXIT_USAGE)
    except Interrupted as stop:
        print(str(stop), file=sys.stderr, flush=True)
        return 128 + stop.signum
    except KeyboardInterrupt:
        return _fail("stopped at once; the last saved checkpoint stands", 130)
    except BrokenPipeError:  # `... | head` closed the pipe: no fault, and nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(
                f"the disk is full ({error.filename or 'while writing'}): earlier checkpoints stand; "
                "free some space and start again in the same directory",
                EXIT_USAGE,
            )
        raise
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error):
            return _fail(
                "the device is out of memory: try a smaller task.batch, model.remat_chunk=16, "
                "or model.dtype=bfloat16",
                EXIT_USAGE,
            )
        raise
    return 0


def _check_positional(rest: Sequence[str]) -> None:
    """Raises UserError for a plain argument of a command that trains what --config says."""
    if rest and _DEFAULT_CONFIG:
        raise UserError(f"unexpected argument {rest[0]!r}: a config is given as --config={rest[0]}")


def launch(main: Callable[[list[str]], None], usage: str) -> None:
    """Parses flags, runs `main(positional arguments)`, and exits with its status.

    Args:
      main: the command; it imports jax, not its module.
      usage: what `--help` prints above the flags.
    """

    def run() -> None:
        if any(a in ("--help", "-h", "-help", "--helpfull", "-?") for a in sys.argv[1:]):
            flags.FLAGS.mark_as_parsed()
            print(usage.strip() + "\n")
            print(_own_flags())
            return
        rest = read_flags(sys.argv)
        _check_positional(rest)
        _start_logging()
        main(rest)

    for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show is escaped, not an error
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(guarded(run))


def _own_flags() -> str:
    """Help text of the flags that the command itself defines."""
    lines = ["flags:"]
    if _DEFAULT_CONFIG:
        lines.append(f"  --config: experiment, configs/NAME.py[:variant] (default: {_DEFAULT_CONFIG[0]})")
        lines.append("  --config.section.field: value of one field, see configs/base.py")
    for name in _DEFINED:
        flag = flags.FLAGS[name]
        default = "" if flag.default in (None, "") else f" (default: {flag.default})"
        lines.append(f"  --{name}: {flag.help}{default}")
    return "\n".join(lines)


_DEFAULT_CONFIG: list[str] = []
_DEFINED: list[str] = []


def define(kind: str, name: str, default: object, help: str, **options: object) -> None:
    """Defines one absl flag ("string", "integer", "float", "bool", "enum") that `--help` shows."""
    getattr(flags, f"DEFINE_{kind}")(name, default, help=help, **options)
    _DEFINED.append(name)
