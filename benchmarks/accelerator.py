"""What this project does on the accelerator at hand: one command, a table of checks in order of worth.

    python benchmarks/accelerator.py --minutes=8 --out=DIR --data=PTB      # as much as fits into 8 minutes
    python benchmarks/accelerator.py --list                                # the checks, with their cost
    python benchmarks/accelerator.py --miniature --out=DIR              # all of them in toy sizes, on a CPU
    python benchmarks/accelerator.py --rows=DIR/results.jsonl           # Markdown for experiments/RESULTS.md

Each check runs in a process of its own with a time limit. Every row goes to DIR/results.jsonl at once, so a
killed run loses nothing; the next call with the same DIR continues with the checks that are not done. No
network is needed. docs/accelerators.md says how to read the results.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from checks import CHECKS, Row, Settings

HERE = Path(__file__).resolve().parent
AT_THE_END = 10.0
"""Seconds kept back from --minutes for the table."""


def read_rows(path: Path) -> list[Row]:
    """The rows of a results.jsonl; a torn last line, as a kill leaves it, is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def append(path: Path, row: Row) -> None:
    """Writes one row and waits until it is on the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def run_check(name: str, settings: Settings, out: Path) -> str:
    """Runs a check in its own process, which appends its rows; returns "done" or why it is not."""
    command = [sys.executable, str(HERE / "accelerator.py"), f"--check={name}", f"--out={out}"]
    command.append(f"--settings={json.dumps(settings._asdict())}")
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with (out / f"{name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            status = process.wait(settings.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return f"stopped after {settings.seconds:.0f} s"
    if status == 0:
        return "done"
    last = (out / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    return f"failed with status {status}: {last[0][:200] if last else 'no output'}"


def planned(arguments: argparse.Namespace, rows: list[Row]) -> Iterator[str]:
    """The names of the checks to run, those that are done left out."""
    done = {row["check"] for row in rows if row.get("state") == "done"}
    for name in arguments.only or CHECKS:
        if arguments.again or name not in done:
            yield name


def run(arguments: argparse.Namespace) -> bool:
    """Runs what fits; returns whether every check that was begun is done."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    path, ends = arguments.out / "results.jsonl", time.monotonic() + 60 * arguments.minutes - AT_THE_END
    good = True
    for name in planned(arguments, read_rows(path)):
        left, cost = ends - time.monotonic(), 20 if arguments.miniature else CHECKS[name].seconds
        if left < min(cost, 60) and not arguments.miniature:
            print(f"{name}: not begun, {max(left, 0):.0f} s are left", flush=True)
            continue
        limit = 600.0 if arguments.miniature else min(left, 1.5 * cost)
        settings = Settings(limit, arguments.miniature, arguments.data, arguments.work)
        began = time.monotonic()
        state = run_check(name, settings, arguments.out)
        seconds = round(time.monotonic() - began, 1)
        append(path, {"check": name, "state": state, "seconds": seconds, "miniature": arguments.miniature})
        print(f"{name}: {state} ({seconds} s)", flush=True)
        good &= state == "done"
    return good


def rounded(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(rows: list[Row]) -> str:
    """Markdown: one table a check, columns as they come, and what did not run."""
    lines = []
    for name in CHECKS:
        own = [row["row"] for row in rows if row["check"] == name and "row" in row]
        states = [row for row in rows if row["check"] == name and "state" in row]
        if not own and not states:
            continue
        took = f" ({states[-1]['state']}, {states[-1]['seconds']} s)" if states else ""
        lines += ["", f"### {name}: {CHECKS[name].what}{took}"]
        columns = list(dict.fromkeys(column for row in own for column in row))
        if columns:
            lines += ["", "| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
            lines += ["| " + " | ".join(rounded(row.get(c, "")) for c in columns) + " |" for row in own]
    return "\n".join(lines).strip()


def names(text: str) -> list[str]:
    found = [name for name in text.split(",") if name]
    for name in found:
        if name not in CHECKS:
            raise argparse.ArgumentTypeError(f"unknown check {name!r}: allowed are {', '.join(CHECKS)}")
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="time in all (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("runs/accelerator"), help="directory of the results")
    parser.add_argument("--data", default=os.environ.get("LSTM_JAX_DATA", ""), help="Penn Treebank's files")
    parser.add_argument("--work", default="", help="where runs go (default: a temporary directory)")
    parser.add_argument("--only", type=names, default=[], help=f"checks, of {', '.join(CHECKS)}")
    parser.add_argument("--again", action="store_true", help="run checks that are done already, too")
    parser.add_argument("--miniature", action="store_true", help="toy sizes, on a CPU")
    parser.add_argument("--list", action="store_true", help="print the checks and end")
    parser.add_argument("--rows", type=Path, help="print the Markdown of a results.jsonl and end")
    parser.add_argument("--check", choices=CHECKS, help=argparse.SUPPRESS)
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.work = arguments.work or str(Path(tempfile.gettempdir()) / "lstm_jax_accelerator")
    arguments.data = str(Path(arguments.data).resolve()) if arguments.data else ""
    arguments.out = arguments.out.resolve()
    return arguments


def main() -> None:
    arguments = parse()
    if arguments.list:
        for name, check in CHECKS.items():
            print(f"{name:12}{check.seconds:5} s  {check.what}")
        return
    if arguments.rows:
        print(table(read_rows(arguments.rows)))
        return
    if arguments.check:  # the process of one check
        settings = Settings(**json.loads(arguments.settings))
        Path(settings.work).mkdir(parents=True, exist_ok=True)
        for row in CHECKS[arguments.check].rows(settings):
            append(arguments.out / "results.jsonl", {"check": arguments.check, "row": row})
        return
    if arguments.miniature:
        os.environ["JAX_PLATFORMS"] = "cpu"
    good = run(arguments)
    print(table(read_rows(arguments.out / "results.jsonl")), flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
