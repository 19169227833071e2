"""Members x steps per second of a sweep: `vmap` against one member after the other, here and in PyTorch.

    python benchmarks/sweep.py --hidden=32,128 --members=1,4,16 --json=result.json

Each member is an LSTM on delayed recall (30 steps, batch 20, 32-dimensional embedding), trained by clipped
Adam; a step is drawing the batch, forward, backward and update. `vmap` trains K of them by one program;
`sequential` and `torch` train one, which is what each of K costs in turn. All three live in this process and
are timed in turn, round after round, so that whatever else the machine does meets all alike; the ratios are
medians over rounds. A width with so many members that a call would take minutes is left out, and said so.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

LENGTH, BATCH, EMBEDDING = 30, 20, 32
LONGEST = 60.0
"""Seconds of one timed call beyond which larger K are left out."""
SECONDS = 2.0
"""What a timed call should take."""

Advance = Callable[[int], None]
"""Trains all its members by so many steps, and waits for them."""


def config(hidden: int, seed: int):
    """A member's config."""
    from configs.memory import base

    made = base.get_config("delayed_recall")
    made.seed = seed
    made.task.update(length=LENGTH, batch=BATCH)
    made.model.update(hidden=(hidden,), embedding=EMBEDDING)
    return made


def ours(hidden: int, members: int) -> Advance:
    """`program.together`, or `program.solo` for one member."""
    import jax

    from lstm_jax.training import program

    configs = [config(hidden, seed) for seed in range(members)]
    team = program.assemble(configs, *program.prepare(configs))
    held = [team.fresh]

    def advance(steps: int) -> None:
        held[0], sums = team.advance(range(members), held[0], steps)
        jax.block_until_ready(sums)

    return advance


def torch_one(hidden: int) -> Advance:
    """torch.nn.LSTM with the same shapes, loss and optimizer, on the GPU where there is one."""
    import torch
    from torch import nn

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    task = task_of(hidden)
    embed = nn.Embedding(task.vocab, EMBEDDING).to(device)
    lstm, head = nn.LSTM(EMBEDDING, hidden).to(device), nn.Linear(hidden, task.outputs).to(device)
    weights = [*embed.parameters(), *lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, lr=2e-3)
    steps_of_one = task.buckets["train"][0]

    def advance(steps: int) -> None:
        for _ in range(steps):
            tokens = torch.randint(0, task.vocab, (steps_of_one, BATCH), device=device)
            target = torch.randint(0, task.outputs, (BATCH,), device=device)
            optimizer.zero_grad(set_to_none=True)
            states, _ = lstm(embed(tokens))
            nn.functional.cross_entropy(head(states)[-1], target).backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return advance


def task_of(hidden: int):
    """The task, for its sizes."""
    from lstm_jax import tasks

    made = config(hidden, 0)
    return tasks.make_task(**made.task.to_dict(), epochs=1, seed=0)


def seconds_of(advance: Advance, steps: int) -> float:
    began = time.perf_counter()
    advance(steps)
    return time.perf_counter() - began


def measure(hidden: int, members: list[int], rounds: int) -> list[dict]:
    """The rows of one width."""
    advances: dict[str, tuple[Advance, int, int]] = {}
    left_out = []
    for name, count, make in (
        ("sequential", 1, lambda: ours(hidden, 1)),
        ("torch", 1, lambda: torch_one(hidden)),
        *((f"vmap {k}", k, lambda k=k: ours(hidden, k)) for k in members if k > 1),
    ):
        if left_out:
            left_out.append(name)
            continue
        try:
            advance = make()
        except ModuleNotFoundError as error:
            print(f"hidden {hidden}: {name} is left out: {error}", flush=True)
            continue
        seconds_of(advance, 2)  # compile
        each = seconds_of(advance, 2) / 2
        if 2 * each > LONGEST:
            left_out.append(name)
            continue
        advances[name] = (advance, count, max(2, min(100, int(SECONDS / each))))
    for name in left_out:
        print(f"hidden {hidden}: {name} is left out: two steps would take over {LONGEST:.0f} s", flush=True)
    rates: dict[str, list[float]] = {name: [] for name in advances}
    for _ in range(rounds):
        for name, (advance, count, steps) in advances.items():
            rates[name].append(count * steps / seconds_of(advance, steps))
    rows = []
    for k in members:
        name = "sequential" if k == 1 else f"vmap {k}"
        if name in rates:
            row = {"hidden": hidden, "members": k, "rate": statistics.median(rates[name])}
            for peer in ("sequential", "torch"):
                if peer in rates:
                    pairs = zip(rates[name], rates[peer], strict=True)
                    row[f"over_{peer}"] = statistics.median(a / b for a, b in pairs)
            rows.append(row)
    return rows


def numbers(text: str) -> list[int]:
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text}: positive numbers with commas between")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=numbers, default=[32, 128, 200, 650], help="widths H")
    parser.add_argument("--members", type=numbers, default=[1, 4, 16, 64], help="members K")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write everything here too")
    arguments = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch shares the GPU
    import jax

    from lstm_jax.runs.provenance import provenance

    about = provenance()
    print(f"{about['hardware']}, jax {jax.__version__}, commit {about['commit']}, {about['date']}")
    print("| H | K | members x steps/s | vmap / sequential | vmap / torch, sequential |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    rows = []
    for hidden in arguments.hidden:
        for row in measure(hidden, arguments.members, arguments.rounds):
            rows.append(row)
            torch = f"{row['over_torch']:.2f}" if "over_torch" in row else ""
            print(
                f"| {row['hidden']} | {row['members']} | {row['rate']:.1f} | {row['over_sequential']:.2f} | "
                f"{torch} |",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(about | {"rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
