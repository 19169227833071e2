# %% [markdown]
# # 08 Nonlinear cells in parallel over time
#
# A recurrent cell is run step after step: $s_t = F_t(s_{t-1})$, where $s_t$ is the carry. Read as $T$
# equations for the unknowns $s_1, \dots, s_T$, they can be solved all at once. Newton's method linearises
# each step at the present guess and solves
#
# $$d_t = J_t\, d_{t-1} + \big(F_t(s_{t-1}) - s_t\big), \qquad J_t = \partial F_t / \partial s_{t-1},$$
#
# which is a *linear* recurrence: an associative scan finds every $d_t$ in about $2 \log_2 T$ sweeps. Then
# $s + d$ is the next guess (Lim et al. 2024, DEER; Danieli et al. 2026, ParaRNN). The backend `newton` does
# so for any cell here.

# %%
# %matplotlib inline
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from lstm_jax import cells, unroll
from lstm_jax.unroll import newton
from lstm_jax.unroll.step_jacobian import form_of

# %% [markdown]
# ## The iterates converge
#
# `para_lstm` is ParaRNN's LSTM: its recurrent weights are a vector a gate, so that a unit's state depends on
# that unit's state only and $J_t$ is a block two by two for each unit. One unit over 200 steps, from the
# first guess (each step alone, from a zero carry) on:

# %%
T, COUNT = 200, 8
cell = cells.para_lstm(16)
params = cell.init(jax.random.key(3), 3)
xs = jax.random.normal(jax.random.key(2), (T, 1, 3))
exact = unroll.unroll(cell, params, xs).ys[:, 0]
shown = newton.iterates(cell, params, xs, COUNT).h[:, :, 0]

fig, axes = plt.subplots(4, 1, figsize=(8, 6), sharex=True)
for number, axis in enumerate(axes):
    axis.plot(exact[:, 0], color="0.7", linewidth=4, label="step by step")
    axis.plot(shown[number, :, 0], color="C0", linewidth=1, label=f"{number} iterations")
    axis.legend(loc="upper right", fontsize=8)
axes[-1].set_xlabel("step t")
fig.suptitle("h of one unit")
plt.show()

# %% [markdown]
# The error at every step, iteration after iteration.
#
# *What to see:* after $k$ iterations the first $k$
# steps are right whatever $J$ is, and near the solution the error is *squared* by an iteration, at all steps
# together, down to the rounding of float32.

# %%
fig, axis = plt.subplots(figsize=(8, 3.5))
for number in range(COUNT):
    error = np.abs(np.asarray(shown[number] - exact)).max(-1)
    axis.semilogy(np.maximum(error, 1e-9), color=plt.cm.viridis(number / COUNT), label=str(number))
axis.set(xlabel="step t", ylabel="largest error of h", title="Newton's method")
axis.legend(title="iterations", fontsize=8, ncol=2)
plt.show()

# %% [markdown]
# ## Dense recurrent weights: quasi-Newton
#
# The LSTM's recurrent weights are dense: $J_t$ is a matrix of $2H \times 2H$, and multiplying such matrices
# costs more than stepping. With only each unit's own block of $J_t$ the fixed point stays the same
# (quasi-DEER, Gonzalez et al. 2024), and iterations are cheap.
#
# *What to see:* with the whole Jacobian the error is squared; with the blocks it falls by a factor.

# %%
dense = cells.lstm(16)
weights = dense.init(jax.random.key(3), 3)
target = unroll.unroll(dense, weights, xs).ys[:, 0]

fig, axis = plt.subplots(figsize=(8, 3.5))
for form in ("dense", "quasi"):
    errors = jnp.abs(newton.iterates(dense, weights, xs, 24, form=form).h[:, :, 0] - target).max((1, 2))
    axis.semilogy(np.maximum(errors, 1e-9), "o-", label=f"{form} Jacobian")
axis.set(xlabel="iterations", ylabel="largest error of h")
axis.legend()
plt.show()
for name, size in (("para_lstm", 128), ("lstm", 128), ("lstm", 16)):
    print(f"{name} of {size} units: {form_of(cells.make_cell(name, size))}")

# %% [markdown]
# ## Where it fails, and what happens then
#
# An Elman network with large recurrent weights is chaotic: products of $J_t$ grow without bound, and a
# wrong step makes all later ones worse. Each iteration then gains a few steps only. The backend gives up after
# `Settings.iterations`, retains the steps that are right, and computes the rest step by step, so that its
# result is that of the loop, only later. `Effort` says what was done.

# %%
elman = cells.elman(16)
calm = elman.init(jax.random.key(0), 3)
chaotic = calm | {"w_h": 4.0 * calm["w_h"]}
for name, chosen in {"calm": calm, "chaotic": chaotic}.items():
    effort = newton.unroll_with_effort(elman, chosen, xs)[1]
    print(
        f"{name}: {int(effort.iterations[0])} iterations, {int(effort.sequential.sum())} of {T} steps sequential"
    )

# %% [markdown]
# ## What it is worth
#
# Each iteration does more arithmetic than the scan, in fewer and larger pieces. On a CPU, which gains nothing
# from larger pieces, it is slower at nearly every length: `docs/parallel_in_time.md` has the table, and the
# backend "auto" does not choose it. The iterations depend on what was learned: a `para_gru` that has learned
# parity flips a bistable unit at every step, and needs nearly as many iterations as there are steps.
