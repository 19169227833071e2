"""Runs of published recipes as a user starts them, stopped in time, and what they came to."""

import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from checks import Row, Settings

__all__ = ["adam_tied", "awd", "large", "medium"]

ROOT = Path(__file__).resolve().parents[2]
AT_THE_END = 25.0
"""Seconds kept for saving and ending."""

AWD_CURVE = {1: 408.9, 2: 222.0, 3: 176.7, 5: 137.5, 10: 107.2, 15: 90.0, 20: 82.9, 30: 77.6}
"""Valid perplexity by epoch, from the log of the multi-timescale variant's authors (seed 141)."""


def trained(settings: Settings, name: str, config: str, *fields: str) -> tuple[list[Row], Row | None]:
    """Runs the launcher until it ends or the time is over; returns the rows of its metrics and its result."""
    workdir = Path(settings.work) / name
    if settings.miniature:
        shutil.rmtree(workdir, ignore_errors=True)
        config = "configs/quickstart.py"
        tiny = "model.hidden=(8,) model.embedding=8 model.tied=False train.epochs=1 task.batch=400"
        fields = tuple(f"--config.{field}" for field in tiny.split())
    else:
        if not settings.data:
            raise FileNotFoundError("give --data=DIR with ptb.train.txt, ptb.valid.txt and ptb.test.txt")
        fields = (*fields, f"--config.task.data_dir={settings.data}")
    command = [sys.executable, str(ROOT / "experiments/ptb_lm.py"), f"--config={ROOT / config}", *fields]
    command += [f"--workdir={workdir}", "--config.evaluate.sample=0", "--config.train.tensorboard=False"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr)
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < settings.seconds - AT_THE_END:
        time.sleep(0.5)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(AT_THE_END - 5)
        except subprocess.TimeoutExpired:
            process.kill()
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    result = workdir / "result.json"
    return [json.loads(line) for line in lines], json.loads(result.read_text()) if result.exists() else None


def rows(settings: Settings, name: str, config: str, *fields: str) -> Iterator[Row]:
    """Yields one row: epochs, valid perplexity by epoch, tokens a second; test figures if the run ended."""
    metrics, result = trained(settings, name, config, *fields)
    valid = [row for row in metrics if row["kind"] == "valid"]
    rates = [row["tokens_per_second"] for row in metrics if row["kind"] == "train"]
    row: Row = {
        "config": config,
        "fields": " ".join(fields),
        "epochs": valid[-1]["epoch"] if valid else 0,
        "valid": [round(each["perplexity"], 2) for each in valid],
        "tokens_per_second": statistics.median(rates) if rates else None,
    }
    if result is not None:
        static = result["figures"]["static"]
        row |= {f"{split}_perplexity": static[split]["perplexity"] for split in ("valid", "test")}
        row |= {"training_seconds": result["seconds"], "commit": result.get("commit")}
    yield row


def medium(settings: Settings) -> Iterator[Row]:
    """Zaremba's medium model, 39 epochs; published 86.2 / 82.7."""
    yield from rows(settings, "medium", "configs/zaremba.py:medium")


def large(settings: Settings) -> Iterator[Row]:
    """Zaremba's large model, 55 epochs; published 82.2 / 78.4."""
    yield from rows(settings, "large", "configs/zaremba.py:large")


def adam_tied(settings: Settings) -> Iterator[Row]:
    """A tied model trained by Adam."""
    yield from rows(settings, "adam_tied", "configs/adam_tied.py")


def awd(settings: Settings) -> Iterator[Row]:
    """The AWD-LSTM's first epochs, beside its learning curve."""
    for row in rows(settings, "awd", "configs/awd.py", "--config.evaluate.cache=False"):
        yield row | {"published_curve": json.dumps(AWD_CURVE)}
