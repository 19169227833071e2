# %% [markdown]
# # 01 The LSTM from its equations
#
# Hochreiter & Schmidhuber (1997) gave a recurrent network a state that is *added to*, and gates that decide
# what is added and what is read. Gers, Schmidhuber & Cummins (2000) added the forget gate. With input $x$
# [D] and previous output $h$ [H]:
#
# $$ i, f, o = \sigma(x W_x + h W_h + b) \qquad g = \tanh(x W_x + h W_h + b) $$
# $$ c' = f \odot c + i \odot g \qquad\qquad h' = o \odot \tanh(c') $$
#
# This notebook takes one step by hand, looks at the gates over a sequence, and then follows the gradient
# back.

# %%
# %matplotlib inline
import jax
import jax.numpy as jnp

from lstm_jax import cells, models, tasks, unroll
from lstm_jax.analysis import gates, lags, truncation

# %% [markdown]
# ## One step
#
# A cell is a record of pure functions. `prepare` does what is parallel over time (the product with the
# input), `recur` is the recurrent product, and `update` holds the equations. Its `trace` has the gates.

# %%
cell = cells.lstm(3, forget_bias=1.0)
params = cell.init(jax.random.key(0), input_dim=2)
xs = jax.random.normal(jax.random.key(1), (1, 1, 2))  # time T = 1, batch B = 1, input D = 2
before = cell.carry(params, 1)._replace(c=jnp.array([[1.0, -1.0, 0.5]]))

seen, zs = cell.prepare(params, xs, None)
after, y, trace = cell.update(seen, before, zs[0], cell.recur(seen, before))
{name: [f"{unit:.2f}" for unit in value[0]] for name, value in trace.items()}

# %% [markdown]
# The second line of equations, checked with the numbers above: the new state is the old one times the
# forget gate, plus the candidate times the input gate; the output is a gated view of it.

# %%
assert jnp.allclose(after.c, trace["f"] * before.c + trace["i"] * trace["g"])
assert jnp.allclose(after.h, trace["o"] * jnp.tanh(after.c))
after

# %% [markdown]
# ## Many steps
#
# `unroll` runs a cell over time. The carry, here `LSTMCarry(c, h)`, is all that goes from step to step: two
# windows with the carry handed over are one sequence. Long texts are read in this way.

# %%
xs = jax.random.normal(jax.random.key(2), (12, 1, 2))
whole = unroll.unroll(cell, params, xs)
first = unroll.unroll(cell, params, xs[:5])
second = unroll.unroll(cell, params, xs[5:], first.carry)
assert jnp.allclose(second.carry.c, whole.carry.c, atol=1e-6)

gates.figure(
    {name: value[:, 0] for name, value in whole.trace.items()},
    [f"x{step}" for step in range(12)],
    title="an untrained LSTM of 3 units over 12 random inputs",
)

# %% [markdown]
# *What to see:* the forget gate $f$ stands above one half most of the time (its bias started at 1), so the
# cell state $c$ changes slowly, while the candidate $g$ jumps with every input.

# %% [markdown]
# ## The gradient, step by step back
#
# Training follows the loss back through time. How much does the loss at the last step feel the input of $k$
# steps before it? $G(k) = \lVert \partial\,\mathrm{loss}_t / \partial x_{t-k} \rVert$. The task here is
# delayed recall: a symbol, then noise, then a cue, at which the symbol is asked for. Nothing is trained
# yet.

# %%
task = tasks.make_task("delayed_recall", length=60, batch=16, epochs=1, seed=1)
batch = task.batch(task.data, "train", 0, 0)
sizes = {
    "vocab": task.vocab,
    "outputs": task.outputs,
    "hidden": (32,),
    "embedding": 16,
    "init": "uniform(0.3)",
}
lstm, elman = (models.recurrent(cell={"name": name}, **sizes) for name in ("lstm", "elman"))
started = {
    bias: models.recurrent(cell={"name": "lstm", "forget_bias": bias}, **sizes).init(jax.random.key(0))
    for bias in (0.0, 1.0, 3.0)
}
curves = {
    f"LSTM, forget bias {bias:g}": truncation.by_lag(lstm, params, task, batch, max_lag=60)
    for bias, params in started.items()
}
curves["tanh network"] = truncation.by_lag(elman, elman.init(jax.random.key(0)), task, batch, max_lag=60)
lags.compared(curves, legend="at initialisation")

# %% [markdown]
# *What to see:* on this logarithmic axis a straight line is an exponential. For the LSTM with bias 0 the
# gradient shrinks by about the same factor with every step, and 60 steps back less than a millionth of it
# is left: the *vanishing gradient* of Hochreiter (1991) and Bengio, Simard & Frasconi (1994). A higher
# forget bias makes the curve flatter, because along the path through $c$ the gradient is multiplied by $f$
# at every step; with bias 3 it does not vanish over this length at all. The tanh network starts from an
# orthogonal recurrent matrix, which alone would shrink nothing: what fades here is the work of $\tanh'$.

# %% [markdown]
# ## Back-propagation through time, whole and truncated
#
# BPTT goes back to the first step. *Truncated* BPTT (Williams & Peng 1990) hands the state on from window
# to window, but ends the backward pass at the border. The forward pass is the same; the gradient is
# another.

# %%
windows = {"whole": 0, "30 steps": 30, "10 steps": 10}
cut = {
    label: truncation.by_lag(lstm, started[1.0], task, batch, max_lag=60, window=window)
    for label, window in windows.items()
}
lags.compared(cut, legend="window", title="LSTM, forget bias 1")

# %% [markdown]
# *What to see:* inside a window nothing differs, and beyond its border nothing is left at all: a dependence
# that is longer than the window gives no signal, however well the state itself is carried on.
#
# How different are the gradients of the *parameters*? Their angle and their length, against the whole
# gradient:

# %%
agreement = {
    f"LSTM, forget bias {bias:g}": truncation.agreement(lstm, params, task, batch, [5, 10, 20, 40, 61])
    for bias, params in started.items()
}
truncation.figure(agreement, mark={"the sequence": 61})

# %% [markdown]
# *What to see:* a cosine of 1 is the same direction. With bias 0 a window of a few steps already gives the
# whole gradient, for it has nothing further back: truncation costs nothing where the gradient vanishes
# anyway. With bias 3 more of the gradient comes from far, and short windows miss it.
#
# Next: [02](02_forget_bias_and_time_scales.ipynb), where the forget bias decides what can be learned at
# all.
