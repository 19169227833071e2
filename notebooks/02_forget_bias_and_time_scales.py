# %% [markdown]
# # 02 The forget bias sets the time scale
#
# What a unit holds is multiplied by its forget gate at every step. A gate that sees only its bias $b$
# stands at $f = \sigma(b)$, and what it holds falls by a factor $e$ in $T = -1 / \log \sigma(b)$ steps. So
# the value at which $b$ *starts* decides over which lags a gradient reaches at all (notebook 01), and what
# can be learned.

# %%
# %matplotlib inline
import tempfile

import jax

from configs.memory import base
from lstm_jax.analysis import timescales
from lstm_jax.analysis.instruments import measure
from lstm_jax.analysis.variants import learning_bands
from lstm_jax.cells import forget_bias
from lstm_jax.predict import Run
from lstm_jax.sweep import comparison, define, run, summary, table

workdir = tempfile.TemporaryDirectory()

# %% [markdown]
# ## From bias to time scale

# %%
{bias: round(timescales.from_bias(bias), 1) for bias in (-1, 0, 1, 2, 3, 5)}

# %% [markdown]
# Zaremba et al. (2014) start at 0: memories of a step or two. Gers et al. (2000) and Jozefowicz et al.
# (2015) start at 1 or more. Each unit of bias stretches the time scale by a factor that tends to $e$.
#
# ## Every published way to start
#
# Instead of one value for all units, one can *draw* biases, so that the units cover many time scales:
#
# | form | what it draws | from |
# | --- | --- | --- |
# | `chrono(T)` | $b = \log U(1, T - 1)$ | Tallec & Ollivier 2018 |
# | `uniform` | $f$ uniform in (0, 1) | Gu et al. 2020 |
# | `timescale(T)` | $f = e^{-1/T}$, exactly | Mahto et al. 2021 |
# | `timescale(inverse_gamma, a, s)` | $T$ from a heavy tail, as words in a text | Mahto et al. 2021 |
# | `powerlaw` | from 5 down to -7 | Beck et al. 2024 (xLSTM) |

# %%
forms = (
    "0",
    "1",
    "3",
    "chrono(50)",
    "uniform",
    "timescale(5, 50)",
    "timescale(inverse_gamma, 0.56, 1)",
    "powerlaw",
)
drawn = {form: forget_bias.parse(form).draw(jax.random.key(0), 64) for form in forms}
timescales.bias_figure(
    drawn, mark={"lag 50": 50}, title="forget biases of 64 units, and the time scales that they make"
)

# %% [markdown]
# *What to see:* a dot is a unit, a bar the median. A single number gives every unit the same time scale.
# `chrono(50)` spreads them up to 50 steps and not beyond; the inverse gamma has a tail of units that hardly
# forget.
#
# ## What it does to learning
#
# Delayed recall: one of 8 symbols, 50 steps of noise, then "which was it?". Only the start of the forget
# bias differs. Three seeds of each are trained in one go.

# %%
config = base.get_config("delayed_recall")
config.task.length = 50
config.task.epoch_steps = 50
config.task.eval_steps = 2
config.model.hidden = (32,)
config.train.epochs = 5
config.train.stop_when_solved = False
sweep = define.expand(config, {"grid": {"model.cell.forget_bias": [0, "chrono({task.length})"]}, "seeds": 3})
run.run(sweep, workdir.name, mode="vmap")
print(table.table(summary.summarise(workdir.name)))

# %%
curves = comparison.curves_of_variants(comparison.read(workdir.name))
learning_bands(curves, chance=1 / 8, legend="forget bias", title="delayed recall over 50 steps")

# %% [markdown]
# *What to see:* with bias 0 the accuracy stays at chance, 1/8: the loss never feels the symbol. With
# `chrono(50)` it rises within some hundred steps. In between lies an edge, where some seeds learn and
# others do not: at this lag bias 1 stands there, see notebook 06, and `experiments/RESULTS.md` for lags of
# 10 to 200.
#
# ## Where the time scales went
#
# The instruments of `experiments/analyze.py` take a run's directory. Here: the forget gates of the chrono
# run over its task, measured and not from the bias alone.

# %%
best = Run(f"{workdir.name}/members/{sweep.members[-1].name}")
measure(best, "timescales", tokens=4000).figures[""]

# %% [markdown]
# *What to see:* the curve is the share of units whose time scale is at most $T$. Before any training the
# units span the scales up to the lag of 50 steps. Training makes the long ones longer: the curve moves to the
# right, and some units now hold for a hundred steps and more.
