"""Images pixel by pixel: which digit was that? Le, Jaitly & Hinton 2015, sequential and permuted MNIST.

In order, neighbours on a row follow each other and the ink is soon read; permuted, by one shuffle of the
pixels that is the same for all images, what belongs together is spread over the whole sequence. The digits of
scikit-learn have 64 steps and need no network; MNIST has 784.
"""

import jax.numpy as jnp
import numpy as np

from lstm_jax.corpora.image_set import Images
from lstm_jax.corpora.images import load_images
from lstm_jax.support.notation import Array, Tree
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Criterion, Task
from lstm_jax.tasks.generated import check

__all__ = ["from_images", "order_of_pixels", "pixels"]

SOLVED = {"digits": 0.9, "mnist": 0.95}
"""Share right from which it counts as solved; published of MNIST: 98 to 99 % in order, 90 to 95 permuted."""


def pixels(
    *,
    source: str = "digits",
    data_dir: str = "",
    permuted: bool = False,
    length: int = 0,
    batch: int = 32,
    eval_batch: int = 128,
    epochs: int,
    seed: int,
) -> Task:
    """One feature a step, the shade of a pixel from 0 to 1; the class is asked for at the last step.

    The data are what they are, so an epoch is one pass over the training images, in an order of its own;
    an evaluation scores every image exactly once. Chance: the class that is most frequent among the test
    images, and the entropy of their classes. Solved: 90 % right, of MNIST 95 %.

    Args:
      source: digits (8 x 8, comes with scikit-learn) | mnist (28 x 28, through TFDS).
      data_dir: where MNIST's files lie; "": the environment variable LSTM_JAX_DATA, or the network.
      permuted: shuffle the pixels, always by the same order.
      length: blank steps between the last pixel and the answer.
      batch: B, images of a training step.
      eval_batch: images of a step of evaluation.
      epochs, seed: of the run; the seed decides the order of the images, never their split.

    Raises:
      UserError: an impossible argument, or what loading the images raises.
    """
    task = from_images(
        load_images(source, data_dir),
        permuted=permuted,
        length=length,
        batch=batch,
        eval_batch=eval_batch,
        epochs=epochs,
        seed=seed,
    )
    solved = (Criterion("accuracy", SOLVED[source], above=True),)
    facts = {"source": source, **task.facts, "solved_when": " and ".join(map(str, solved))}
    return task._replace(solved=solved, facts=facts)


def from_images(
    images: Images,
    *,
    permuted: bool = False,
    length: int = 0,
    batch: int = 32,
    eval_batch: int = 128,
    epochs: int,
    seed: int,
) -> Task:
    """The task on images that are already loaded, without a criterion; else as `pixels`."""
    check("length", length, 0)
    check("eval_batch", eval_batch, 1)
    check("epochs", epochs, 1)
    check("batch", batch, 1, len(images.labels["train"]))
    wide = images.pixels["train"].shape[1]
    steps = wide + length
    order = order_of_pixels(wide) if permuted else np.arange(wide)
    passes, data = {}, {}
    for split, labels in images.labels.items():
        train = split == "train"
        rows = batch if train else eval_batch
        plan, passes[split] = _plan(len(labels), rows, epochs if train else 1, seed, shuffle=train)
        data[split] = {
            "pixels": jnp.asarray(images.pixels[split][:, order]),
            "labels": jnp.asarray(labels),
            "plan": jnp.asarray(plan),
        }

    def batch_at(data: Tree, split: str, step: Array | int, bucket: int = 0) -> Batch:
        part = data[split]
        chosen = part["plan"][:, jnp.asarray(step, jnp.int32) % part["plan"].shape[1]]
        shade = part["pixels"][chosen].T.astype(jnp.float32) / images.brightest
        shade = jnp.pad(shade, ((0, length), (0, 0)))
        asked = (jnp.arange(steps) == steps - 1)[:, None] & (chosen >= 0)
        targets = jnp.broadcast_to(part["labels"][chosen], asked.shape)
        return Batch(shade[..., None], targets, asked.astype(jnp.float32), None, None, True)

    labels = images.labels["test"]
    share = np.bincount(labels, minlength=images.classes) / len(labels)
    present = share[share > 0]
    chance = {"nats": float(-(present * np.log(present)).sum()), "accuracy": float(share.max())}
    return Task(
        name="pixels",
        vocab=None,
        input_dim=1,
        outputs=images.classes,
        data=data,
        batch_axes={
            split: {"pixels": None, "labels": None, "plan": 0 if split == "train" else None} for split in data
        },
        batch=batch_at,
        buckets=dict.fromkeys(data, (steps,)),
        bucket=lambda data, split, step: jnp.zeros((), jnp.int32),
        steps={split: int(passes[split][0]) for split in ("valid", "test")},
        epoch_ends=passes["train"],
        batch_sizes={"train": batch, "valid": eval_batch, "test": eval_batch},
        loss=scores.nats,
        metrics=scores.classes.metrics,
        chance=chance,
        report=scores.as_they_are,
        facts={
            "steps_of_a_sequence": steps,
            **{f"{split}_images": len(found) for split, found in images.labels.items()},
            **{f"chance_{metric}": value for metric, value in chance.items()},
        },
    )


def order_of_pixels(wide: int) -> np.ndarray:
    """The order [P] in which permuted images show their P pixels: a function of P alone, always the same."""
    return np.random.Generator(np.random.Philox(wide)).permutation(wide)


def _plan(count: int, rows: int, passes: int, seed: int, *, shuffle: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which image each row sees at each step, [rows, steps] int32, and the steps at which passes end.

    Shuffled passes follow each other without a gap, and another one fills up the last step; each is drawn by
    a seed of its own, so that more passes begin with the fewer. What is not shuffled is filled up with -1,
    no image.
    """
    ends = -(-count * np.arange(1, passes + 1, dtype=np.int64) // rows)
    if not shuffle:
        order = np.concatenate([np.arange(count), np.full(rows, -1)])
    else:
        seeds = (np.random.SeedSequence([seed % 2**64, number]) for number in range(passes + 1))
        draws = (np.random.Generator(np.random.Philox(one)).permutation(count) for one in seeds)
        order = np.concatenate(list(draws))
    plan = order[: ends[-1] * rows].reshape(-1, rows).T
    return np.ascontiguousarray(plan, np.int32), ends
