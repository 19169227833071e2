"""What a run says of itself: what it is about to train, and in the end figures, pictures, result.json."""

import logging
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from lstm_jax import corpora, evaluate, predict
from lstm_jax.analysis import recall
from lstm_jax.analysis.curves import learning_curve
from lstm_jax.models import Model
from lstm_jax.runs import distributed
from lstm_jax.runs.checkpoint import read_best
from lstm_jax.runs.directory import RunPaths
from lstm_jax.runs.interrupts import Interrupts
from lstm_jax.runs.metrics import read_metrics, write_result
from lstm_jax.runs.provenance import provenance
from lstm_jax.support import pytrees
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params
from lstm_jax.tasks.base import Task
from lstm_jax.tasks.generated import draws_lengths
from lstm_jax.training.lengths import mean_over

__all__ = ["Evaluators", "announce", "check_texts", "finish", "shapes", "shown"]

log = logging.getLogger(__name__)

SHOWN = (
    *("loss", "perplexity", "accuracy", "macro_f1", "last_accuracy", "squared_error", "correct"),
    "tokens_per_second",
)
BASELINES = ("uniform", "unigram", "bigram")


def shown(figures: Mapping[str, float]) -> list[str]:
    """The names in `figures` that a person wants on a line."""
    return [name for name in SHOWN if name in figures]


def announce(task: Task, model: Model, params: Params, directory: RunPaths) -> None:
    """Logs data, size, devices and backend, and keeps the vocabulary that predicting needs.

    `params` lie on the devices that the run trains on.
    """
    if task.text_encoding is not None and not (directory.has_checkpoints() and directory.vocabulary.exists()):
        corpora.save_encoding(task.text_encoding, task.facts["fingerprint"], directory.vocabulary)
    for name, fact in task.facts.items():
        log.info("  %-28s %s", name, f"{fact:.6g}" if isinstance(fact, float) else fact)
    devices = jax.tree.leaves(params)[0].sharding.device_set
    log.info(
        "%s parameters; %d %s device(s)%s; backend %s (%s); run directory %s",
        f"{pytrees.count(params):,}",
        len(devices),
        jax.devices()[0].platform,
        f" of {distributed.count()} processes" if distributed.count() > 1 else "",
        model.backend,
        model.why,
        directory.root,
    )


def check_texts(task: Task, directory: RunPaths) -> None:
    """Refuses other texts than those that the run in `directory` was trained on: its parameters are of those.

    Raises:
      UserError: vocabulary, labels or fingerprint are others, or the vocabulary cannot be read.
    """
    if task.text_encoding is None or not (directory.has_checkpoints() and directory.vocabulary.exists()):
        return
    if change := corpora.describe_text_change(
        task.text_encoding, task.facts["fingerprint"], directory.vocabulary
    ):
        raise UserError(
            f"the texts have changed since the run in {directory.root} began: {change}; "
            "restore them (the texts bundled with Python change with its version), or choose another workdir"
        )


def shapes(params: Params) -> Params:
    """The shape, dtype and place of each parameter, without its values."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), params
    )


class Evaluators:
    """Evaluation of runs that share a model and differ in their data, each pass compiled once."""

    def __init__(self, model: Model):
        self._model = model
        self._compiled: dict[tuple, evaluate.Evaluator] = {}

    def __call__(
        self, task: Task, split: str, params: Params, progress: Any, length: int | None = None
    ) -> dict[str, float]:
        """The figures of `params` on a split of `task`; `length` tells the tasks of a run apart."""
        # Where lengths are data, those of as many steps are of one program.
        same = length is not None and draws_lengths(task)
        key = (split, *task.buckets[split]) if same else (split, "length", length)
        if key not in self._compiled:
            self._compiled[key] = evaluate.make_evaluator(task, self._model, split)
        return self._compiled[key](params, progress, task.data)


def finish(
    c: ConfigDict,
    task: Task,
    others: Mapping[int, Task],
    model: Model,
    like: Params,
    directory: RunPaths,
    interrupts: Interrupts,
    evaluators: "Evaluators",
    *,
    step: int,
    host: Mapping[str, Any],
) -> dict[str, Any]:
    """Evaluates the best checkpoint, draws the learning curve, writes result.json and prints what matters.

    result.json is written once, when all that was asked for is in it: where it exists the run is finished.
    Of several processes each evaluates, and the first one writes and prints.

    Args:
      c, task, model, directory: of the run.
      others: the task at other lengths, see `other_lengths`.
      like: parameters that tell structure and place.
      evaluators: of the model, compiled once for all runs that are trained together.
      interrupts: heard between compiled calls; nothing is lost, for all of this can be done again.
      step: training steps done.
      host: the host's part of the state, of which `seconds` and `solved_step` are recorded.
    """
    params, info = read_best(directory.root, like)

    def listen(done: int, total: int) -> None:
        interrupts.check("stopped in the final evaluation; the same command does it again")

    figures: dict[str, dict[str, dict[str, float]]] = {"static": {}}
    for split in ("valid", "test"):
        figures["static"][split] = evaluators(task, split, params, listen)
    result = {
        "best_step": info["step"],
        "steps": step,
        "seconds": host["seconds"],
        "parameters": pytrees.count(params),
        "backend": model.backend,
        "figures": figures,
        "chance": dict(task.chance),
        "facts": dict(task.facts),
        "config": c.to_dict(),
        **provenance(),
    }
    if task.solved:
        on_test = all(criterion.met(figures["static"]["test"]) for criterion in task.solved)
        step_solved = host["solved_step"]
        result |= {
            "solved": step_solved is not None,
            "solved_step": step_solved,
            "solved_on_test": on_test,
        }
    if others:
        by_length = {
            length: evaluators(other, "test", params, listen, length) for length, other in others.items()
        }
        result["lengths"] = {str(length): own for length, own in by_length.items()}
        result["mean_over_lengths"] = mean_over(c.evaluate.lengths, by_length)
    text = task.corpus
    if text is not None and (c.evaluate.dynamic or c.evaluate.cache):
        # What follows takes long, and adapting can leave the finite numbers: these figures are told before.
        for split, own in figures["static"].items():
            log.info("static %s %s", split, ", ".join(f"{name} {own[name]:.4g}" for name in shown(own)))
        figures |= _adaptive(c, text, model, params, listen)
    sample = ""
    with distributed.shared_fate():
        if distributed.first():
            if text is not None and c.evaluate.sample:
                model_of_run = predict.LanguageModel(model, params, text.vocabulary)
                (drawn,) = model_of_run.generate(c.evaluate.sample_prompt, c.evaluate.sample, seed=c.seed)
                sample = f"\na sample of {c.evaluate.sample} tokens:\n{drawn.text}"
            _curve(task, figures["static"]["valid"], directory)
            if len(others) > 1:
                _lengths(c, task, others, by_length, directory)
            write_result(directory.root, result)
    if distributed.first():
        _print(task, result, directory)
        if sample:
            print(sample, flush=True)
    return result


def _curve(task: Task, figures: Mapping[str, float], directory: RunPaths) -> None:
    """Draws the learning curve beside the levels to compare with."""
    if "perplexity" in figures:
        metric = "perplexity"
        levels = {
            name: task.facts[f"valid_{name}_perplexity"]
            for name in BASELINES
            if f"valid_{name}_perplexity" in task.facts
        }
    else:
        metric = next(iter(task.chance))
        levels = {"chance": task.chance[metric]}
    figure = learning_curve(
        read_metrics(directory.root), metric=metric, levels=levels, title=directory.root.name
    )
    figure.savefig(directory.curves, dpi=150)


def _lengths(
    c: ConfigDict,
    task: Task,
    others: Mapping[int, Task],
    by_length: Mapping[int, Mapping[str, float]],
    directory: RunPaths,
) -> None:
    """Draws the first criterion's figure, or the loss, against the length."""
    metric = task.solved[0].metric if task.solved else next(iter(task.chance))
    chance = {length: other.chance[metric] for length, other in others.items()}
    curve = recall.recall({length: [own] for length, own in by_length.items()}, metric, chance)
    figure = recall.figure(
        {c.model.get("cell", {}).get("name", c.model.name): curve},
        metric=metric,
        trained=c.task.length,
        title=f"{directory.root.name}: {task.name} by length",
    )
    figure.savefig(directory.lengths, dpi=150)


def _adaptive(
    c: ConfigDict, corpus: corpora.Corpus, model: Model, params: Params, listen: Any
) -> dict[str, Any]:
    """Dynamic evaluation and the neural cache, where the config asks for them: columns of their own."""
    e, first = c.evaluate, corpus.vocabulary.eos
    found: dict[str, Any] = {}
    tokens = {split: corpus.tokens[split] for split in ("valid", "test")}
    if e.dynamic:
        statistics = evaluate.gradient_statistics(
            model, params, corpus.tokens["train"], first, window=e.dynamic_window, progress=listen
        )
        found["dynamic"] = {
            split: evaluate.make_dynamic_evaluator(model, text, first, window=e.dynamic_window)(
                params,
                statistics,
                rate=e.dynamic_rate,
                decay=e.dynamic_decay,
                eps=e.dynamic_eps,
                progress=listen,
            )
            for split, text in tokens.items()
        }
    if e.cache:
        found["cache"] = {
            split: evaluate.make_cache_evaluator(model, text, first, size=e.cache_size)(
                params, theta=e.cache_theta, lam=e.cache_lambda, progress=listen
            )
            for split, text in tokens.items()
        }
    return found


def _print(task: Task, result: Mapping[str, Any], directory: RunPaths) -> None:
    """The table at the end of a run, on the standard output."""
    print(f"\nbest checkpoint: step {result['best_step']}; {result['seconds']:.0f} s of training")
    print(f"{'':24}{'valid':>12}{'test':>12}")
    for name in BASELINES:
        row = [
            task.facts.get(f"{split}_{name}_perplexity", task.facts.get(f"{name}_perplexity"))
            for split in ("valid", "test")
        ]
        if None not in row:
            print(f"{name + ' perplexity':24}{row[0]:12.2f}{row[1]:12.2f}")
    static = result["figures"]["static"]
    wanted = ("perplexity", "accuracy") if "perplexity" in static["test"] else tuple(task.chance)
    for column, splits in result["figures"].items():
        for metric in splits["valid"]:
            if metric in wanted[:1] or (column == "static" and metric in wanted):
                print(
                    f"{column + ' ' + metric:24}{splits['valid'][metric]:12.4g}{splits['test'][metric]:12.4g}"
                )
    if task.corpus is None:
        for metric, level in task.chance.items():
            print(f"{'chance ' + metric:24}{level:12.4g}{level:12.4g}")
    several = result.get("mean_over_lengths", {})
    by_length = result.get("lengths", {})
    some = list(by_length) if not several else [*list(by_length)[:3], *list(by_length)[-3:]]
    for length in dict.fromkeys(some):
        shown = ", ".join(f"{metric} {by_length[length][metric]:.4g}" for metric in task.chance)
        print(f"at length {length}: {shown}")
    if several:
        shown = ", ".join(f"{metric} {several[metric]:.4g}" for metric in task.chance)
        print(f"mean over the lengths of the ranges: {shown}\nlengths {directory.lengths}")
    if task.solved:
        when = f"at step {result['solved_step']}" if result["solved"] else "never"
        on_test = "met" if result["solved_on_test"] else "not met"
        print(f"solved ({' and '.join(map(str, task.solved))}): {when} on valid; {on_test} on test")
    print(f"curve {directory.curves}\nresult {directory.result}", flush=True)
