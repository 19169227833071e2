"""One contestant in its own process: builds and warms up, then times a round whenever it reads a line.

`python benchmarks/worker.py NAME SHAPE PRECISION STEPS`; speaks JSON, a line a message, on standard output.
"""

import importlib
import json
import os
import sys
import time

from contestants import CONTESTANTS
from shapes import SHAPES


def main() -> None:
    name, shape, precision, steps = sys.argv[1:]
    shape, steps = SHAPES[shape], int(steps)
    # Libraries that print go to standard error: the protocol has standard output for itself.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    start = time.perf_counter()
    run, device = importlib.import_module(CONTESTANTS[name]).build(shape, precision)
    run(1)
    ready = time.perf_counter() - start
    run(steps)
    print(json.dumps({"device": device, "seconds_to_first_step": ready}), file=answers)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = run(steps)
        message = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "loss": loss,
        }
        print(json.dumps(message), file=answers)


if __name__ == "__main__":
    main()
