# %% [markdown]
# # 07 Hebbian, fast-weight and attention memories
#
# The state of an LSTM is a vector: each unit holds a number. To *bind* a key to a value, other memories
# write a matrix while they read ("cells that fire together wire together", Hebb 1949), or keep their past
# states and attend to them:
#
# | cell | memory after step $t$ | from |
# | --- | --- | --- |
# | `fast_weights` | $A_t = \lambda A_{t-1} + \eta\, h_t h_t^\top$ | Ba et al. 2016; Schmidhuber 1992 |
# | `plastic`, `plastic_lstm` | $\mathrm{Hebb}_t = \mathrm{Hebb}_{t-1} + \eta\, h_{t-1} y_t^\top$, times trained $\alpha$ | Miconi et al. 2018, 2019 |
# | `attention_lstm` | the last $M$ states, read by softmax attention | Cheng et al. 2016; Daniluk et al. 2017 |

# %%
# %matplotlib inline
import tempfile

from configs.memory import base
from lstm_jax.analysis import memories, sequences
from lstm_jax.analysis.variants import learning_bands
from lstm_jax.predict import Run
from lstm_jax.sweep import comparison, define, run, summary, table

workdir = tempfile.TemporaryDirectory()

# %% [markdown]
# ## The task
#
# Associative recall: pairs of a letter and a digit, a pause of two steps, a letter of before: which digit
# stood with it? Small here: two pairs of 6 letters and 4 digits, so a guess is right one time in four.

# %%
config = base.get_config("associative_recall")
config.task.length = 2
config.task.letters = 6
config.task.digits = 4
config.task.batch = 32
config.task.epoch_steps = 100
config.task.eval_steps = 2
config.model.embedding = 16
config.model.hidden = (24,)
config.optim.learning_rate = 5e-3
config.train.epochs = 6
config.train.stop_when_solved = False

# %% [markdown]
# ## Train four memories
#
# All have 24 units (the parameters differ, see the table), one seed each: enough to look inside, not to
# rank them. The study with equal parameters and five seeds is in `experiments/RESULTS.md`.

# %%
variants = {
    "LSTM": {"model.cell.name": "lstm"},
    "fast weights": {"model.cell.name": "fast_weights"},
    "plastic LSTM": {"model.cell.name": "plastic_lstm"},
    "attention LSTM": {"model.cell.name": "attention_lstm", "model.cell.options": "slots=10"},
}
sweep = define.expand(config, {"list": variants})
run.run(sweep, workdir.name, mode="sequential")
print(table.table(summary.summarise(workdir.name)))

# %%
compared = comparison.read(workdir.name)
learning_bands(comparison.curves_of_variants(compared), chance=1 / 4, title="associative recall, one seed")

# %% [markdown]
# *What to see:* the dashed line is a guess among all four digits. A network that remembers which digits
# were shown, but not with which letter, is right 5 times in 8: a plateau there is memory without binding.
#
# One sequence, at which all four are looked at below:

# %%
trained = {
    name: Run(f"{workdir.name}/members/{member.name}")
    for name, member in zip(variants, sweep.members, strict=True)
}
task = trained["LSTM"].task
batch = task.batch(task.data, "valid", 0, 0)
names = ["?", *"abcdef", *"0123"]
row = 4
tokens = [names[int(token)] for token in batch.inputs[:, row]]
sequences.figure(
    sequences.example(task, row=row), outputs=[*"0123"], title=f"one sequence: {' '.join(tokens)}"
)

# %% [markdown]
# *What to see:* tokens 1 to 6 are the letters a to f, 7 to 10 the digits 0 to 3, and 0 is the pause. Only
# the last step is scored.
#
# ## What the fast weights hold
#
# The matrix $A$ after every step of that sequence. It is 0 at the start, and each step adds the outer
# product of the state with itself.

# %%
fast = trained["fast weights"]
states = memories.carries(fast.model, fast.params, batch.inputs)
labels = [f"after {token}" for token in tokens]
memories.matrices_figure(
    states.a[:, row], labels, columns=4, what="entry of A", title="fast weights A while it reads"
)

# %% [markdown]
# *What to see:* $A$ grows and fades, and is symmetric: it stores states, not arrows from one to the next.
#
# ## It is attention
#
# What is read from $A$ is a sum of past states: $A q = \sum_k \eta \lambda^{t-k} (h_k \cdot q)\, h_k$. So
# the weights $\eta \lambda^{t-k} (h_k \cdot h_t)$ tell which past steps come back when step $t$ asks (Ba et
# al. 2016, eq. 3; the same thing as linear attention, Schlag et al. 2021).

# %%
weights = memories.recall_weights(states.h[:, row], decay=0.95, eta=0.5)
memories.attention_figure(
    weights, tokens, what="weight of the state", title="fast weights: which past states come back"
)

# %% [markdown]
# *What to see:* a row asks, a column is remembered; the last row is the question. Old columns fade by
# $\lambda$ a step. A memory that binds returns, for the letter that is asked, the states of the pair with
# that letter.
#
# ## What a plastic matrix holds
#
# Hebb of the plastic LSTM goes from the state *before* a step to the candidate *of* the step, so it is not
# symmetric: it can store that one thing came after another.

# %%
plastic = trained["plastic LSTM"]
hebb = memories.carries(plastic.model, plastic.params, batch.inputs).hebb[:, row]
memories.matrices_figure(
    hebb, labels, columns=4, what="entry of Hebb", title="plastic LSTM: Hebb while it reads"
)

# %% [markdown]
# *What to see:* all panels share one scale. Nothing is written at the first step, as there is no state
# before it.
#
# ## Attention over past states
#
# Here nothing is written into a matrix; the states are kept, and the softmax weights are the trace
# `attention`.

# %%
attention = trained["attention LSTM"]
outputs = attention.model.apply(
    attention.params, batch.inputs, attention.model.carry(attention.params, batch.inputs.shape[1])
)
by_position = memories.by_position(outputs.traces[0]["attention"][:, row])
memories.attention_figure(by_position, tokens, title="attention LSTM: to which step it turns")

# %% [markdown]
# *What to see:* each row sums to 1 over the steps before it, and the last row is the question. Compare it
# with the fast weights above: both say which past steps come back, one from a matrix and one from the
# states themselves.
#
# These are single short runs. What each memory is worth, at equal parameters and over seeds, is a sweep
# (notebook 06): `configs/sweeps/associative_recall_cells.py`.
