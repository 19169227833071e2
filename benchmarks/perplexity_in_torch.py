"""The perplexity of a run in PyTorch, from its safetensors file by a plain torch loop, beside its own in jax.

    python benchmarks/perplexity_in_torch.py --run=runs/small [--split=valid] [--data_dir=DIR]

The file is written as `experiments/convert.py --to` writes it, and read back by safetensors.torch into a
module of torch.nn.Embedding, LSTM (GRU, RNN) and Linear named as in pytorch/examples. The text is read as in
training's evaluation: one stream, the carry going from window to window, every token scored once.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file


class RNNModel(torch.nn.Module):
    """The language model of pytorch/examples, without its dropout."""

    def __init__(self, module: str, vocab: int, widths: tuple[int, int, int], layers: int, **options: Any):
        super().__init__()
        embedding, hidden, projection = widths
        options |= {"proj_size": projection} if projection else {}
        self.encoder = torch.nn.Embedding(vocab, embedding)
        self.rnn = getattr(torch.nn, module)(embedding, hidden, layers, **options)
        self.decoder = torch.nn.Linear(projection or hidden, vocab)


def load(path: str | Path) -> RNNModel:
    """The module that fits the tensors and the metadata of a file, with these as its weights."""
    state = load_file(path)
    with safe_open(path, framework="pt") as file:
        module, _, options = file.metadata()["module"].removeprefix("torch.nn.").rstrip(")").partition("(")
    vocab, embedding = state["encoder.weight"].shape
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[module]
    hidden = state["rnn.weight_ih_l0"].shape[0] // gates
    projection = state["rnn.weight_hr_l0"].shape[0] if "rnn.weight_hr_l0" in state else 0
    layers = sum(name.startswith("rnn.weight_ih") for name in state)
    arguments = dict(option.split("=") for option in options.split(", ") if option)
    model = RNNModel(module, vocab, (embedding, hidden, projection), layers, **arguments)
    model.load_state_dict(state)  # strict: every name and shape
    return model.eval()


@torch.no_grad()
def perplexity(model: RNNModel, tokens: Any, first: int, window: int = 512) -> float:
    """The perplexity of `tokens` [N], each given all before it; `first` is the input before the first."""
    targets = torch.as_tensor(tokens, dtype=torch.int64)
    inputs = torch.cat([torch.tensor([first]), targets[:-1]])
    carry, nats = None, 0.0
    for begin in range(0, len(targets), window):
        part = slice(begin, begin + window)
        ys, carry = model.rnn(model.encoder(inputs[part, None]), carry)
        logits = model.decoder(ys[:, 0])
        nats += torch.nn.functional.cross_entropy(logits, targets[part], reduction="sum").item()
    return math.exp(nats / len(targets))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="directory of a language model's run")
    parser.add_argument("--split", default="valid", choices=("valid", "test"))
    parser.add_argument("--data_dir", default="", help="where the corpus lies, if not where the config says")
    options = parser.parse_args()

    from lstm_jax import evaluate
    from lstm_jax.predict import Run, weights_io
    from lstm_jax.runs.provenance import provenance

    torch.set_num_threads(1)  # a step of one row is too little work for two threads to meet over
    run = Run(options.run, options.data_dir)
    corpus = run.task.corpus
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "weights.safetensors"
        weights_io.write_run_weights(run, path)
        model = load(path)
    tokens = corpus.tokens[options.split]
    began = time.monotonic()
    theirs = perplexity(model, tokens, corpus.vocabulary.eos)
    middle = time.monotonic()
    ours = evaluate.make_evaluator(run.task, run.model, options.split)(run.params)["perplexity"]
    where = provenance()
    found = {
        "run": str(run.paths.root),
        "split": options.split,
        "tokens": len(tokens),
        "torch": theirs,
        "jax": ours,
        "relative_difference": abs(theirs / ours - 1),
        "seconds": {"torch": round(middle - began, 1), "jax": round(time.monotonic() - middle, 1)},
        "threads": torch.get_num_threads(),
        "versions": where["versions"] | {"torch": torch.__version__},
        **{name: where[name] for name in ("commit", "dirty", "hardware", "date")},
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
