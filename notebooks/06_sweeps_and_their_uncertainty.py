# %% [markdown]
# # 06 Sweeps, and how to read their uncertainty
#
# A recurrent network that learns a memory task with one seed may fail with the next. So a comparison is a
# *sweep*: several variants, each with several seeds; and its result is a difference *with an interval*.
# Which question can five seeds answer, and which not?

# %%
# %matplotlib inline
import tempfile

import matplotlib.pyplot as plt

from configs.memory import base
from lstm_jax.analysis.variants import learning_bands
from lstm_jax.sweep import comparison, define, run, statistics, summary, table

workdir = tempfile.TemporaryDirectory()

# %% [markdown]
# ## Define
#
# A sweep is plain data over a config: parts that multiply. Here the forget bias (notebook 02) at the edge
# of what it can do: delayed recall over 50 steps, with bias 1 against bias 2.

# %%
config = base.get_config("delayed_recall")
config.task.length = 50
config.task.epoch_steps = 50
config.task.eval_steps = 2
config.model.hidden = (32,)
config.train.epochs = 4
config.train.stop_when_solved = False
definition = {"grid": {"model.cell.forget_bias": [1, 2]}, "seeds": 8, "baseline": "forget_bias=1"}
sweep = define.expand(config, definition)
[member.name for member in sweep.members][:3], len(sweep.members)

# %% [markdown]
# ## Run: one after the other, or together
#
# Mode "sequential" trains member after member, "processes" one a core, and "vmap" all that share a shape in
# one program: here the members differ in seeds and initial values alone, so all can. The numbers are the
# same up to rounding; the time is not. (`experiments/sweep.py` is the same from a terminal. On an
# accelerator the members of a vmapped sweep ride nearly free.)

# %%
few = define.expand(config, definition | {"seeds": 1})
run.run(few, f"{workdir.name}/sequential", mode="sequential")
run.run(sweep, f"{workdir.name}/vmap", mode="vmap")

for mode in ("sequential", "vmap"):
    for row in summary.rows(f"{workdir.name}/{mode}"):
        if row["seed"] == 1:
            accuracy = row["figures"]["test"]["accuracy"]
            print(f"{mode:10}  {row['name']:22}  accuracy {accuracy:.3f}  {row['seconds']:.1f} s of training")

# %% [markdown]
# ## The table
#
# The mean over seeds with a 95 % bootstrap interval, and the difference to the baseline.

# %%
print(table.table(summary.summarise(f"{workdir.name}/vmap"), width=110))

# %%
curves = comparison.curves_of_variants(comparison.read(f"{workdir.name}/vmap"))
learning_bands(
    curves, chance=1 / 8, band="quartiles", legend="forget bias", title="delayed recall over 50 steps"
)

# %% [markdown]
# *What to see:* the line is the median over eight seeds, the band holds the middle half of them. A band is
# the spread of *seeds*; the interval in the table is the uncertainty of their *mean*. They are not the same
# thing.
#
# ## Look at the seeds
#
# Before any statistic: what do the eight runs of each look like?

# %%
rows = summary.rows(f"{workdir.name}/vmap")
by_bias = {
    bias: {
        row["seed"]: row["figures"]["test"]["accuracy"]
        for row in rows
        if row["labels"]["forget_bias"] == bias
    }
    for bias in sorted({row["labels"]["forget_bias"] for row in rows})
}
figure, axes = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
for (bias, values), marker, shift in zip(by_bias.items(), "os", (-0.1, 0.1), strict=True):
    axes.plot([seed + shift for seed in values], list(values.values()), marker, label=f"forget bias {bias}")
axes.axhline(1 / 8, color="grey", linestyle="--", linewidth=0.9, label="chance")
axes.set(xlabel="seed", ylabel="accuracy on test (share right)", xticks=list(values), ylim=(0, 1.05))
_ = figure.legend(fontsize=8, loc="outside right center")
# %% [markdown]
# *What to see:* the runs are not spread evenly about a mean: a seed learns the task or does not. A mean of
# such values is a share of successes in disguise, and its interval is wide.
#
# ## Paired differences
#
# Seed 3 of one variant has the data order and the random draws of seed 3 of the other. So the difference is
# taken *within* seeds, and what the seed does to both cancels. Bootstrap: draw eight of the eight
# differences with replacement, take the mean, and again ten thousand times; the interval holds the middle
# 95 % of these means (Efron 1979; here with the small-sample correction of Hesterberg 2015).

# %%
one, two = by_bias.values()
difference = statistics.paired(two, one)
print(f"bias 2 minus bias 1: {difference.mean:+.3f}, from {difference.low:+.3f} to {difference.high:+.3f}")

# %% [markdown]
# ## When five seeds are not enough
#
# The same difference, had we stopped after 2, 3, 4, ... seeds:

# %%
seeds = sorted(one)
stopped = {
    count: statistics.paired({seed: two[seed] for seed in seeds[:count]}, one)
    for count in range(2, len(seeds) + 1)
}
figure, axes = plt.subplots(figsize=(6.4, 3), layout="constrained")
for count, found in stopped.items():
    axes.plot([count, count], [found.low, found.high], color="#0072B2", linewidth=2)
    axes.plot(count, found.mean, "o", color="#D55E00")
axes.axhline(0, color="grey", linewidth=0.9, linestyle="--")
_ = axes.set(xlabel="number of seeds", ylabel="accuracy of bias 2 minus bias 1", xticks=list(stopped))
# %% [markdown]
# *What to see:* a dot is the mean difference so far, a bar its 95 % interval; a bar that crosses 0 leaves
# open which is better. With few seeds the interval hangs on whether one more run fails, and with three or
# fewer it can be no wider than what those runs showed: it is too narrow, not too honest. Before a sweep,
# ask how large a difference must be to matter, and take as many seeds as make the interval narrower than
# that.
#
# Shares of solved runs have an interval of their own (Wilson 1927). Five of five does not mean "always":

# %%
for solved, total in ((5, 5), (3, 5), (10, 10), (6, 10)):
    low, high = statistics.wilson(solved, total)
    print(f"{solved} of {total} solved: the share is between {low:.2f} and {high:.2f}")
