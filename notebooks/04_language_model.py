# %% [markdown]
# # 04 A language model: train, sample, look inside
#
# The text is one that every Python brings along: its language reference (`pydoc_data`), about 390,000
# characters. The model reads character after character and gives a probability to each next one (Mikolov et
# al. 2010; Zaremba, Sutskever & Vinyals 2014). This one is small and trained for a few seconds, so that the
# notebook is quick.

# %%
# %matplotlib inline
import tempfile

from configs import quickstart
from lstm_jax import predict
from lstm_jax.analysis.curves import learning_curve
from lstm_jax.analysis.instruments import measure
from lstm_jax.runs.metrics import read_metrics
from lstm_jax.training import loop

workdir = tempfile.TemporaryDirectory()
place = f"{workdir.name}/small"

# %% [markdown]
# ## Train
#
# A config is a whole experiment; here the quickstart's, made smaller. Windows of 50 characters follow each
# other, and the state is handed on (truncated BPTT, notebook 01).

# %%
config = quickstart.get_config()
config.model.hidden = (96,)
config.model.embedding = 32
config.train.epochs = 1
config.train.eval_every = 75
config.train.steps_per_call = 25
config.train.tensorboard = False
config.evaluate.sample = 0
result = loop.run(config, place)

# %% [markdown]
# *Perplexity* is the exponential of the mean loss: as uncertain as among so many equally likely characters.
# Beside it, what counting gives: every character alike (uniform), by its frequency (unigram), given the
# last one (bigram).

# %%
levels = {name: result["facts"][f"valid_{name}_perplexity"] for name in ("unigram", "bigram")}
learning_curve(read_metrics(place), levels=levels, title="characters of Python's language reference")

# %% [markdown]
# *What to see:* well before the end of one pass over the text the network is below the bigram, so it uses
# more than the last character.
#
# ## Sample
#
# The temperature divides the logits: low is careful and repeats itself, 1 is the model's own distribution.

# %%
model = predict.load(place)
for temperature in (0.3, 1.0):
    (sample,) = model.generate("The ", 160, temperature=temperature, seed=3)
    print(f"--- temperature {temperature}\n{sample.text}\n")

# %% [markdown]
# *What to see:* spelling and spacing come first, sense does not come at all from a model of this size.
#
# ## How surprised was it?
#
# The loss of each character of a line, in nats. As a rule the beginnings of words are hard, and their ends
# easy.

# %%
(line,) = model.score(["The import statement is a list of values"])
print(" ".join(f"{token}{-nats:.1f}" for token, nats in zip(line.tokens, line.log_probs, strict=True)))

# %% [markdown]
# ## Look inside: the gates over a sentence

# %%
trained = predict.Run(place)
measure(trained, "gates", text="The import statement (see below)", tokens=2000).figures["layer1"]

# %% [markdown]
# *What to see:* a row is a unit, sorted by its time scale, the longest on top. At the bottom the forget
# gates flicker with every character; at the top they stand open, and the cell state below keeps its colour
# over words (Karpathy, Johnson & Fei-Fei 2015 looked at such cells).
#
# ## Time scales of the units

# %%
measure(trained, "timescales", tokens=4000).figures[""]

# %% [markdown]
# *What to see:* all units started at the time scale of forget bias 1, about 3 characters. Training spread
# them: some forget at once, some hold for ten characters and more (Mahto et al. 2021 measured words in this
# way).
#
# ## How much context does it use?
#
# The same 300 characters, each predicted from the last $n$ characters alone (Khandelwal et al. 2018).

# %%
measure(trained, "context", lengths=(1, 2, 5, 10, 20, 50, 100), targets=300).figures[""]

# %% [markdown]
# *What to see:* above, the perplexity falls steeply with the first few characters of context that are
# given; below, what is still missing to the whole text, on a logarithmic axis, with bars of two standard
# errors. Where a bar reaches down to the axis, the difference to the whole text is within what 300
# characters can tell.
