# %% [markdown]
# # 03 Memory tasks, and where they break
#
# A memory task measures one thing: what a network must hold, and for how long. All tasks here are
# generated, so there is no end of data; each has a length, knows what a guess without memory is worth
# (*chance*), and says when it counts as *solved*. `lstm_jax.tasks.GENERATORS` lists them.

# %%
# %matplotlib inline
import tempfile

from configs.memory import base
from lstm_jax import tasks
from lstm_jax.analysis import recall, sequences
from lstm_jax.analysis.instruments import measure
from lstm_jax.predict import Run
from lstm_jax.training import loop

workdir = tempfile.TemporaryDirectory()
", ".join(tasks.GENERATORS)

# %% [markdown]
# ## Delayed recall: how long
#
# The symbol of step 0 is asked for at the end; all between is noise. One thing to hold, for the whole
# length.

# %%
sequences.figure(
    sequences.example(tasks.make_task("delayed_recall", length=30, epochs=1, seed=1)),
    title="delayed recall: one symbol, 29 distractors, the cue",
)

# %% [markdown]
# *What to see:* above, the token at each step (1 to 8 are symbols, 9 to 16 noise, 0 the cue); below, what
# is asked for in the shaded step: class 0 to 7 for the symbols 1 to 8.
#
# ## Copying: how much, and for how long
#
# Hochreiter & Schmidhuber's and later Arjovsky et al.'s (2016) copy task: several symbols, a wait, all of
# them again.

# %%
sequences.figure(
    sequences.example(tasks.make_task("copying", length=20, epochs=1, seed=1)),
    title="copying: the symbols, a wait, and all of them again in order",
)

# %% [markdown]
# *What to see:* every step is scored. Most of the answers are "blank", so a good mean over all steps can
# hide that no symbol is remembered: look at what is scored before you believe a number.
#
# ## Adding: values instead of symbols
#
# The adding problem (Hochreiter & Schmidhuber 1997): two of many numbers are marked; their sum is asked
# for.

# %%
sequences.figure(
    sequences.example(tasks.make_task("adding", length=30, epochs=1, seed=1)),
    title="adding: numbers and marks, and the sum of the marked ones",
)

# %% [markdown]
# *What to see:* the line in blue is the number of each step, the green one is 1 where it is marked. What is
# asked for is a value, so the loss is a squared error.
#
# ## Associative recall: binding
#
# Pairs of a key and a value, then a key: which value stood with it? (Ba et al. 2016.) Time is short; the
# network must bind what it has not met together before. Notebook 07 is about it.

# %%
sequences.figure(
    sequences.example(tasks.make_task("associative_recall", length=4, letters=8, digits=4, epochs=1, seed=1)),
    title="associative recall: four pairs, a pause, a key",
)

# %% [markdown]
# *What to see:* letters (tokens 1 to 8) and digits (tokens 9 to 12, classes 0 to 3) take turns; the last input
# is a letter of before, and its digit is the answer.
#
# ## Chance
#
# The loss and the accuracy of the best answer that ignores the input, in closed form. A result without its
# chance level says nothing: 1/2 is what parity gives for nothing.

# %%
shown = ("delayed_recall", "copying", "adding", "parity", "temporal_order", "associative_recall")
made = {name: tasks.make_task(name, epochs=1, seed=1) for name in shown}
for name, task in made.items():
    chance = ", ".join(f"{metric} {value:.3g}" for metric, value in task.chance.items())
    print(f"{name:20} chance: {chance:55} solved: {' and '.join(map(str, task.solved))}")

# %% [markdown]
# ## Train at one length, test at others
#
# An LSTM learns delayed recall over 20 steps, from two starts of the forget bias, and is then asked at
# lengths from 10 to 80, of which it saw one. Has it learned "hold the symbol", or "hold it for 20 steps"?

# %%
config = base.get_config("delayed_recall")
config.task.length = 20
config.task.epoch_steps = 100
config.task.eval_steps = 2
config.model.hidden = (32,)
config.train.epochs = 4
config.evaluate.lengths = (10, 20, 40, 80)
curves = {}
for bias in ("1", "chrono(80)"):
    config.model.cell.forget_bias = bias
    result = loop.run(config, f"{workdir.name}/forget_bias={bias}")
    figures = {int(length): [found] for length, found in result["lengths"].items()}
    curves[f"forget bias {bias}"] = recall.recall(figures, "accuracy", 1 / 8)

# %%
recall.figure(curves, trained=20, bound=0.99, title="delayed recall: trained at 20 steps, tested at others")

# %% [markdown]
# *What to see:* both solve the length that they were trained on and the shorter one. At 40 steps, twice as
# long, both still give most answers; which of the two is ahead there is a matter of the seed (notebook 06).
# At 80 steps they part: the start with long time scales still gives most answers, the other about half of
# them. Neither has learned "hold the symbol" for any length.
#
# Why it works at all can be seen inside: the gates of one sequence of the run that starts with bias 1.

# %%
measure(Run(f"{workdir.name}/forget_bias=1"), "gates", tokens=2000).figures["layer1"]

# %% [markdown]
# *What to see:* time runs to the right; units are sorted by their time scale, the longest on top. Nothing
# here stores the symbol once and keeps it: the input gates stand about half open at step 0 and open further
# as the noise passes by, and no unit's time scale comes near the 20 steps. Instead the trace of the symbol
# grows: each output pushes the candidate $g$ of the next step the same way, until it saturates in one
# colour, and the cell state builds up step after step. The recurrence amplifies the symbol faster than the
# forget gate loses it.
