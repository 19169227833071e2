"""Tokens per second of a whole training step, beside flax and PyTorch, measured in turn in the same minutes.

    python benchmarks/train_step.py --shape=small,medium --peers=flax,torch --json=result.json

A step is forward, backward, clip to the global norm, SGD update, with the carry handed on; vocabulary
10,000, float32. Each contestant lives in a process of its own and waits there while another runs; a round
lets each run once, in turn, so that whatever else the machine does meets all alike. The first ratio is the
median over rounds of the ratio within a round; the second, of the fastest rounds, is the one to read where
other work disturbs the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from contestants import CONTESTANTS
from shapes import MATMUL_PRECISION, SHAPES

HERE = Path(__file__).resolve().parent
OURS = "lstm_jax"


class Worker:
    """A contestant's process. All start at once; `ready` waits for one."""

    def __init__(self, name: str, shape: str, precision: str, steps: int):
        """Starts it."""
        command = [sys.executable, str(HERE / "worker.py"), name, shape, precision, str(steps)]
        self.name = name
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.about: dict = {}

    def ready(self) -> None:
        """Waits until it is warm; raises RuntimeError with its last words if it dies."""
        self.about = self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            last = self.process.stderr.read().strip().splitlines()[-1:] or ["no message"]
            raise RuntimeError(f"{self.name} stopped: {last[0]}")
        return json.loads(line)

    def round(self) -> dict:
        """One timed round: seconds, cpu_seconds, loss."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def measure(shape: str, names: list[str], precision: str, steps: int, rounds: int) -> dict:
    """Times the contestants in turn; returns name -> figures, or why it cannot run."""
    started, workers, missing = [Worker(name, shape, precision, steps) for name in names], [], {}
    for worker in started:
        try:
            worker.ready()
            workers.append(worker)
        except RuntimeError as error:
            missing[worker.name] = str(error)
    answers = {worker.name: [] for worker in workers}
    for turn in range(rounds):
        for worker in workers[turn % len(workers) :] + workers[: turn % len(workers)]:
            answers[worker.name].append(worker.round())
    tokens = steps * SHAPES[shape].window * SHAPES[shape].batch
    result = {}
    for worker in workers:
        worker.close()
        rates = [tokens / answer["seconds"] for answer in answers[worker.name]]
        ratios = [
            theirs["seconds"] / ours["seconds"]
            for ours, theirs in zip(answers.get(OURS, []), answers[worker.name], strict=False)
        ]
        result[worker.name] = worker.about | {
            "tokens_per_second": statistics.median(rates),
            "slowest": min(rates),
            "fastest": max(rates),
            "cpu_seconds_per_step": statistics.median(a["cpu_seconds"] for a in answers[worker.name]) / steps,
            "ours_over_theirs": statistics.median(ratios) if ratios else None,
            "loss": answers[worker.name][-1]["loss"],
            "steps_per_round": steps,
            "rounds": rounds,
        }
    return result | {name: {"missing": reason} for name, reason in missing.items()}


def table(results: dict[str, dict]) -> str:
    """The figures for people: one line a shape and contestant."""
    lines = [
        "| shape | who | tokens/s, median (slowest to fastest) | ours / theirs | best / best | first step |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for shape, figures in results.items():
        for name, its in figures.items():
            if "missing" in its:
                lines.append(f"| {shape} | {name} | {its['missing']} | | | |")
                continue
            ratio, best = "", ""
            if name != OURS and "fastest" in figures.get(OURS, {}):
                ratio = f"{its['ours_over_theirs']:.2f}"
                best = f"{figures[OURS]['fastest'] / its['fastest']:.2f}"
            lines.append(
                f"| {shape} | {name} | {its['tokens_per_second']:,.0f} ({its['slowest']:,.0f} to "
                f"{its['fastest']:,.0f}) | {ratio} | {best} | "
                f"{its['seconds_to_first_step']:.1f} s |"
            )
    return "\n".join(lines)


def names_in(allowed) -> Callable[[str], list[str]]:
    """A parser of comma-separated names."""

    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r}: allowed are {', '.join(allowed)}")
        return names

    return parse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=names_in(SHAPES), default=["small"], help=f"of {', '.join(SHAPES)}")
    peers = [name for name in CONTESTANTS if name != OURS]
    parser.add_argument("--peers", type=names_in(peers), default=peers, help=f"of {', '.join(peers)}")
    parser.add_argument("--steps", type=int, help="training steps of a round; default by shape")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--precision", choices=tuple(MATMUL_PRECISION), default="tf32", help="matmuls on a GPU"
    )
    parser.add_argument("--json", type=Path, help="write everything here too")
    arguments = parser.parse_args()

    # JAX would take three quarters of a GPU's memory at once, here and in each contestant.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    import jax

    from lstm_jax.runs.provenance import provenance

    about, on_gpu = provenance(), jax.devices()[0].platform == "gpu"
    print(f"{about['hardware']}, jax {jax.__version__}, commit {about['commit']}, {about['date']}")
    results = {}
    for shape in arguments.shape:
        steps = arguments.steps or SHAPES[shape].steps[on_gpu]
        names = [OURS, *arguments.peers]
        results[shape] = measure(shape, names, arguments.precision, steps, arguments.rounds)
        print(table({shape: results[shape]}), flush=True)
    if arguments.json:
        text = json.dumps(about | {"precision": arguments.precision, "results": results}, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
