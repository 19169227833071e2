# %% [markdown]
# # 05 Your own cell in ten lines: tested, trained, swept
#
# A cell is a record of pure functions (`lstm_jax.cells.Cell`). Most cells are a few gates over $x W_x + h
# W_h + b$, and `gated` makes the record from their equations. Here: a leaky unit with one gate, as in JANET
# (van der Westhuizen & Lasenby 2018) or the minimal gated unit (Zhou et al. 2016):
#
# $$ f = \sigma(x W_f + h U_f + b_f) \qquad c' = f \odot c + (1 - f) \odot \tanh(x W_g + h U_g + b_g) \qquad h' = c' $$

# %%
# %matplotlib inline
import tempfile

import jax
import jax.numpy as jnp

from configs.memory import base
from lstm_jax import cells
from lstm_jax.analysis.variants import learning_bands
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.sweep import comparison, define, run, summary, table
from lstm_jax.training import loop
from lstm_jax.unroll.properties import PROPERTIES, check, report, setting

workdir = tempfile.TemporaryDirectory()


# %% [markdown]
# ## Write it
#
# `register` puts the function under its own name into the table that configs look into. `update` gets the
# carry, the input's sums `z` and the recurrent sums `r`, both [B, gates, H], and returns the new carry, the
# output, and what is worth looking at.


# %%
@cells.register
def leaky(hidden, *, init="lecun", dtype=jnp.float32):
    def update(params, carry, z, r):
        f, g = split_gates(z + r)
        f, g = jax.nn.sigmoid(f), jnp.tanh(g)
        c = f * carry.c + (1 - f) * g
        h = c.astype(dtype)
        return cells.LSTMCarry(c, h), h, {"f": f, "g": g, "c": c}

    return gated("leaky", hidden, 2, cells.LSTMCarry, update, init=init, dtype=dtype)


# %% [markdown]
# ## Test it
#
# Whoever wrote it, a cell must do what every cell does: the compiled scan equals a plain Python loop in
# values *and* gradients, nothing leaks from the future or from another sequence, windows join, padding
# changes nothing. These are the properties that the tests of this repository run over all of its cells.

# %%
found = check(leaky(4))
print(report(found))
assert not any(found.values())

# %% [markdown]
# They do find mistakes. This cell subtracts the mean of its output over the batch, a slip that trains well
# and is wrong: the answer to one sequence then depends on its neighbours.


# %%
def centred(params, carry, z, r):
    carry, h, trace = leaky(4).update(params, carry, z, r)
    return carry._replace(h=h - h.mean(0)), h, trace


wrong = leaky(4)._replace(update=centred)
{name: PROPERTIES[name].seen(wrong, setting(wrong)) for name in ("causal", "batch")}

# %% [markdown]
# *What to see:* `batch` tells what is wrong. `causal` has nothing to say (`None`): it is another property.
#
# ## Train it
#
# By its name, as any cell: delayed recall over 20 steps.

# %%
config = base.get_config("delayed_recall")
config.task.length = 20
config.task.epoch_steps = 50
config.task.eval_steps = 2
config.model.hidden = (32,)
config.train.epochs = 5
config.train.stop_when_solved = False
config.model.cell.name = "leaky"
result = loop.run(config, f"{workdir.name}/leaky")
result["figures"]["static"]["test"]

# %% [markdown]
# ## Sweep it
#
# Beside others, over seeds. An LSTM of the same width has twice the parameters, so its width is 22 here:
# compare at equal size, or say so. (A sweep of a cell that a notebook has registered runs in this process:
# mode "sequential" or "vmap". The command line's worker processes know cells of the package alone: to stay,
# a cell goes into a file of `lstm_jax/cells/` and a line of CELLS.)

# %%
variants = {
    "leaky, 32 units": {"model.cell.name": "leaky", "model.hidden": (32,)},
    "LSTM, 22 units": {"model.cell.name": "lstm", "model.hidden": (22,)},
}
sweep = define.expand(config, {"list": variants, "seeds": 2})
run.run(sweep, f"{workdir.name}/sweep", mode="vmap")
print(table.table(summary.summarise(f"{workdir.name}/sweep")))

# %%
curves = comparison.curves_of_variants(comparison.read(f"{workdir.name}/sweep"))
learning_bands(curves, chance=1 / 8, title="delayed recall over 20 steps")

# %% [markdown]
# *What to see:* the gate of `leaky` starts at one half, for it has no forget bias, and the LSTM's at a bias
# of 1. Notebook 02 tells what that is worth. Can you give `leaky` one? (`lstm_jax.cells.janet` shows how.)
