"""The figure of the AWD-LSTM's first epochs beside its authors' learning curve, from an accelerator run.

python benchmarks/awd_curve.py experiments/accelerator/h200_aa48776.jsonl FIGURE.png
"""

import json
import sys
from pathlib import Path

from checks.training import AWD_CURVE

from lstm_jax.analysis.style import COLOURS, new_figure, tidy


def main(rows: str, out: str) -> None:
    found = [json.loads(line) for line in Path(rows).read_text(encoding="utf-8").splitlines()]
    (valid,) = [line["row"]["valid"] for line in found if line["check"] == "awd" and "row" in line]
    figure = new_figure(3.2)
    axes = figure.subplots()
    blue, orange = list(COLOURS.values())[:2]
    epochs = range(1, len(valid) + 1)
    axes.plot(epochs, valid, color=blue, marker="o", label="configs/awd.py")
    published = {epoch: value for epoch, value in AWD_CURVE.items() if epoch <= 2 * len(valid)}
    axes.plot(
        list(published), list(published.values()), color=orange, marker="s", linestyle="--",
        label="multi-timescale variant, its authors' log",
    )  # fmt: skip
    axes.set(xlabel="epoch", ylabel="valid perplexity (Penn Treebank)", yscale="log")
    axes.set_yticks([80, 100, 150, 200, 300, 400], ["80", "100", "150", "200", "300", "400"])
    axes.minorticks_off()
    axes.legend(frameon=False)
    tidy(axes)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
