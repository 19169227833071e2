"""A classifier beside logistic regression on the words alone: same texts, same split, same vocabulary.

    python benchmarks/bag_of_words.py --config=configs/classify/default.py
    python benchmarks/bag_of_words.py --run=runs/default --run=runs/default-2 --run=runs/default-3

Two baselines: how often each word of the vocabulary occurs; and that of each pair of neighbours too, so that
order begins to count. Their L2 penalty is chosen on valid, as the network's checkpoint is. With --run the
texts are those of the run's config, and the runs' own figures are printed below.
"""

import argparse
import json
import sys
import time
from pathlib import Path

PENALTIES = (0.3, 1.0, 3.0, 10.0)
"""Scikit-learn's C, the inverse of the penalty."""
SPLITS = ("train", "valid", "test")


def counts(task, pairs: bool) -> dict:
    """Split -> [N, V] how often each token is in a text, and [N, P] each pair that training has twice."""
    import numpy as np
    from scipy import sparse

    seen, found = None, {}
    for split in SPLITS:
        part = {name: np.asarray(leaf) for name, leaf in task.data[split].items()}
        row = np.repeat(np.arange(len(part["length"])), part["length"])
        ones, shape = np.ones(len(row), np.float32), (len(part["length"]), task.vocab)
        found[split] = sparse.csr_matrix((ones, (row, part["tokens"])), shape)
        if pairs:
            inside = row[1:] == row[:-1]
            pair = (part["tokens"][:-1].astype(np.int64) * task.vocab + part["tokens"][1:])[inside]
            if seen is None:
                values, often = np.unique(pair, return_counts=True)
                seen = values[often > 1]
            place = np.minimum(np.searchsorted(seen, pair), len(seen) - 1)
            known = seen[place] == pair
            entries = (ones[: known.sum()], (row[1:][inside][known], place[known]))
            more = sparse.csr_matrix(entries, (shape[0], len(seen)))
            found[split] = sparse.hstack([found[split], more]).tocsr()
    return found


def baseline(task, pairs: bool) -> dict[str, float]:
    """Figures on test of the logistic regression that does best on valid."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    began = time.monotonic()
    x, y = counts(task, pairs), {split: np.asarray(task.data[split]["label"]) for split in SPLITS}
    fitted = [(c, LogisticRegression(C=c, max_iter=300).fit(x["train"], y["train"])) for c in PENALTIES]
    best, model = max(fitted, key=lambda pair: accuracy_score(y["valid"], pair[1].predict(x["valid"])))
    figures = {"C": best, "features": x["train"].shape[1], "seconds": time.monotonic() - began}
    for split in ("valid", "test"):
        said = model.predict(x[split])
        figures[f"{split}_accuracy"] = float(accuracy_score(y[split], said))
        figures[f"{split}_macro_f1"] = float(
            f1_score(y[split], said, labels=range(task.outputs), average="macro", zero_division=0)
        )
    return figures


def figures_of(run: Path) -> dict[str, float]:
    """The figures that a finished run left."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return {
        f"{split}_{name}": result["figures"]["static"][split][name]
        for split in ("valid", "test")
        for name in ("accuracy", "macro_f1")
    }


def row(name: str, figures: dict[str, float], more: str = "") -> str:
    shown = (
        figures[f"{split}_{metric}"] for split in ("valid", "test") for metric in ("accuracy", "macro_f1")
    )
    return f"{name:34}" + "".join(f"{value:>10.4f}" for value in shown) + f"  {more}"


def config_of(path: str) -> dict:
    """The config of a file configs/classify/NAME.py, as plain dicts."""
    import runpy

    return runpy.run_path(path)["get_config"]().to_dict()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/classify/default.py", help="whose texts, without --run")
    parser.add_argument(
        "--run", type=Path, action="append", default=[], help="a finished run; may be repeated"
    )
    parser.add_argument("--json", type=Path, help="write everything here too")
    arguments = parser.parse_args()
    try:
        import sklearn  # noqa: F401
    except ImportError:
        sys.exit("error: this needs scikit-learn: pip install -e '.[tasks]'")

    from lstm_jax import tasks
    from lstm_jax.predict import Run
    from lstm_jax.runs.provenance import provenance
    from lstm_jax.support.errors import UserError

    try:
        runs = {run: figures_of(Run(run).paths.root) for run in arguments.run}
        configs = [Run(run).config for run in runs] or [config_of(arguments.config)]
        if any(config["task"] != configs[0]["task"] for config in configs):
            raise UserError("the runs have different tasks: compare those of one task at a time")
        task = tasks.make_task(**configs[0]["task"], epochs=1, seed=0)
        if task.encoder is None:
            raise UserError(f"the task {task.name!r} labels no texts: give a config of configs/classify")
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    about = provenance()
    print(
        f"{about['hardware']}, commit {about['commit']}, {about['date']}, texts {task.facts['fingerprint']}"
    )
    print(f"{'':34}{'valid':>10}{'':10}{'test':>10}\n{'':34}" + f"{'accuracy':>10}{'macro F1':>10}" * 2)
    results = {}
    for name, pairs in (("bag of words", False), ("bag of words and pairs", True)):
        results[name] = baseline(task, pairs)
        told = f"C {results[name]['C']:g}, {results[name]['features']:,} features"
        print(row(name, results[name], told), flush=True)
    for run, figures in runs.items():
        print(row(run.name, figures))
    if len(runs) > 1:
        means = {name: sum(f[name] for f in runs.values()) / len(runs) for name in next(iter(runs.values()))}
        print(row(f"mean of {len(runs)} runs", means))
    if arguments.json:
        everything = about | {"baselines": results, "runs": {str(run): f for run, f in runs.items()}}
        arguments.json.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
