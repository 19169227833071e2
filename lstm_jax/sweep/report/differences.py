"""The differences to the baseline with their intervals."""

from lstm_jax.analysis.variants import looks
from lstm_jax.sweep.comparison import Comparison, shown_variants, variant_of
from lstm_jax.sweep.report.chart import (
    SYMBOLS,
    Chart,
    Figure,
    Section,
    layout_of,
    metric_name,
    plain,
    rounded,
)
from lstm_jax.sweep.statistics import NARROW
from lstm_jax.sweep.table import number

__all__ = ["differences"]

ROWS = 60
"""Rows of the chart; of more variants the best are drawn."""


def differences(c: Comparison) -> Section | None:
    """The difference of each group to the baseline, with its interval."""
    compared = [group for group in c.groups if group["difference"] is not None]
    if not compared:
        return None
    kept = {*shown_variants(c, ROWS // max(1, len(c.lengths)))}
    rows = [group for group in compared if variant_of(group["labels"], c.fields) in kept]
    data: list[Figure] = []
    by_length = len(c.lengths) > 1
    names = []
    for group in rows:
        variant = variant_of(group["labels"], c.fields)
        names.append(f"{variant} · {group['labels'][c.length]}" if by_length else variant)
    styles = looks(variant_of(group["labels"], c.fields) for group in rows)
    for variant, look in styles.items():
        mine = [
            (name, group)
            for name, group in zip(names, rows, strict=True)
            if variant_of(group["labels"], c.fields) == variant
        ]
        middle = [group["difference"] for _, group in mine]
        # One seed has no interval.
        up = [
            (g["difference_high"] if g["difference_high"] is not None else g["difference"]) for _, g in mine
        ]
        down = [
            (g["difference_low"] if g["difference_low"] is not None else g["difference"]) for _, g in mine
        ]
        data.append(
            {"type": "scatter", "mode": "markers", "name": plain(variant), "showlegend": False,
             "x": rounded(middle), "y": [plain(name) for name, _ in mine],
             "error_x": {"type": "data", "symmetric": False, "thickness": 2, "width": 5,
                         "array": rounded(b - a for a, b in zip(middle, up, strict=True)),
                         "arrayminus": rounded(a - b for a, b in zip(middle, down, strict=True))},
             "marker": {"symbol": SYMBOLS[look.marker], "size": 9, "color": look.colour},
             "text": [f"{number(g['difference'], True)} [{number(g['difference_low'], True, 3)}, "
                      f"{number(g['difference_high'], True, 3)}]<br>{g['pairs']} pairs" for _, g in mine],
             "hovertemplate": "%{y}<br>%{text}<extra></extra>"}
        )  # fmt: skip
    against = f"{c.kind} {variant_of(c.baseline, list(c.baseline))}".strip()
    layout = layout_of(f"difference of {metric_name(c)}", "")
    layout["xaxis"] |= {"zeroline": True, "zerolinecolor": "@muted", "zerolinewidth": 2}
    order = [plain(name) for name in names]
    layout["yaxis"] |= {"type": "category", "categoryarray": order[::-1], "categoryorder": "array"}
    better = "right" if c.high else "left"
    caption = (
        f"To {against}, the baseline: mean of the paired differences over the seeds of both, with its 95 % "
        f"bootstrap interval. {NARROW} The {better} of 0 is better than the baseline. Not corrected for "
        "the number of comparisons."
    )
    if by_length:
        caption += f" Rows: variant · {c.length_label}, each against the baseline at the same length."
    says, wide = f"difference of each variant to {against}", 7 * max(map(len, names)) + 200
    chart = Chart("difference", "", says, {"data": data, "layout": layout}, 110 + 26 * len(rows), wide)
    return Section("differences", "Difference to the baseline", caption, [chart], ())
