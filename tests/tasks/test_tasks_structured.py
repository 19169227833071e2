"""What the tasks with a grammar, a warp, images or a story claim of themselves beyond what all tasks do."""

import gzip
import hashlib
import itertools
import sys

import jax
import numpy as np
import pytest

from lstm_jax.corpora import image_set, images
from lstm_jax.support.errors import UserError
from lstm_jax.tasks import make_task, reber
from lstm_jax.tasks.a_n_b_n import a_n_b_n
from lstm_jax.tasks.base import Batch
from lstm_jax.tasks.continual_reber import continual_reber
from lstm_jax.tasks.dyck import dyck
from lstm_jax.tasks.embedded_reber import embedded_reber
from lstm_jax.tasks.mqar import mqar
from lstm_jax.tasks.pixels import from_images, order_of_pixels, pixels
from lstm_jax.tasks.questions import ANSWERS, KINDS, WORDS, questions
from lstm_jax.tasks.warped import warped
from tests.solvers.questions import read


def drawn(generator, count=512, seed=0):
    """`count` sequences as a Batch of NumPy arrays."""
    found = jax.jit(jax.vmap(generator.draw))(jax.random.split(jax.random.key(seed), count))
    inputs, targets, weights, lengths = jax.tree.map(np.asarray, tuple(found))
    turn = [None if x is None else np.swapaxes(x, 0, 1) for x in (inputs, targets, weights)]
    return Batch(*turn, lengths, None, True)


def every_batch(task, split, first, last):
    batch_at = jax.jit(task.batch, static_argnums=(1, 3))
    return [jax.device_get(batch_at(task.data, split, step, 0)) for step in range(first, last)]


def figures(task, logits, batch):
    pairs = jax.jit(lambda logits, batch: task.metrics(logits, batch))(logits.astype(np.float32), batch)
    return {name: float(total) / float(count) for name, (total, count) in pairs.items()}


def sharp(batch, classes, among=None):
    """Logits that are sure of the targets, or of `among` [T, B, O] alike."""
    return 50.0 * (np.eye(classes)[batch.targets] if among is None else among)


# --- Reber


def random_reber(rng):
    """A string by the seven nodes as the papers draw them, independent of the automaton under test."""
    ways = ["B1", "T2P3", "S2X4", "T3V5", "X3S6", "P4V6", "E7"]
    node, text = 0, ""
    while node < 7:
        way = rng.integers(len(ways[node]) // 2)
        text, node = text + ways[node][2 * way], int(ways[node][2 * way + 1])
    return text


def parse(text):
    """The inner string of each whole embedded string in `text`, and what is left over."""
    inner = []
    while (end := text.find("E", text.find("E") + 1)) >= 0:
        one, text = text[: end + 1], text[end + 1 :]
        assert one[0] == "B" and one[1] in "TP" and one[-2] == one[1] and one[-1] == "E", one
        inner.append(one[2:-2])
    return inner, text


def test_the_automaton_takes_every_string_of_the_grammar_and_no_other():
    rng = np.random.default_rng(0)
    for _ in range(50):
        inner, branch = random_reber(rng), "TP"[rng.integers(2)]
        good = f"B{branch}{inner}{branch}E"
        for text in (good, good[:-2] + "TP"["TP".index(branch) - 1] + "E", good[:3] + "E" + good[3:]):
            state = reber.START
            for symbol in text:
                state = reber.NEXT[state, reber.SYMBOLS.index(symbol)] if state >= 0 else -1
            assert (state == reber.END) == (text == good), text


@pytest.mark.parametrize(("length", "least"), [(9, 0.0), (9, 0.8), (12, 1.0)])
def test_bounded_strings_have_the_grammars_own_probabilities(length, least):
    """By counting: each string of the lengths allowed, enumerated, against its share among draws."""
    shortest = max(5, int(np.ceil(least * length)))
    law = {}

    def walk(node, text, p):
        if node == 7:
            if len(text) >= shortest:
                law[text] = p
        elif len(text) < length:
            ways = {0: "B1", 1: "T2P3", 2: "S2X4", 3: "T3V5", 4: "X3S6", 5: "P4V6", 6: "E7"}[node]
            for i in range(0, len(ways), 2):
                walk(int(ways[i + 1]), text + ways[i], p * 2 / len(ways))

    walk(0, "", 1.0)
    total = sum(law.values())
    batch = drawn(embedded_reber(length=length, least=least), 4096)
    counts = dict.fromkeys(law, 0)
    for column, end, last in zip(batch.inputs.T, batch.lengths, batch.targets.T, strict=True):
        (inner,), rest = parse("".join(reber.SYMBOLS[i] for i in [*column[:end], last[end - 1]]))
        assert rest == ""
        counts[inner] += 1
    for inner, p in law.items():
        mean = 4096 * p / total
        assert abs(counts[inner] - mean) <= 5 * np.sqrt(mean) + 3, inner


def test_embedded_legal_is_the_criterion_of_1997():
    """All that can follow before all that may not; one mistake spoils the string and no other."""
    task = embedded_reber(length=8)
    batch = drawn(task, 64)
    legal = np.zeros((*batch.inputs.shape, 7))
    for b in range(64):
        state = reber.START
        for t in range(batch.lengths[b]):
            state = reber.NEXT[state, batch.inputs[t, b]]
            legal[t, b] = reber.NEXT[state] >= 0
    knows = figures(task.scores, sharp(batch, 7, legal), batch)
    assert knows["strings"] == knows["recall"] == 1.0
    forgets = legal.copy()  # which branch it was: T and P alike where the string closes
    closing = np.zeros(batch.inputs.shape, bool)
    for b in range(64):
        closing[batch.lengths[b] - 2, b] = True
    forgets[closing] = np.eye(7)[reber.SYMBOLS.index("T")] + np.eye(7)[reber.SYMBOLS.index("P")] * 1.1
    share = (batch.targets[closing] == reber.SYMBOLS.index("P")).mean()
    found = figures(task.scores, sharp(batch, 7, forgets), batch)
    assert 0.2 < share < 0.8
    assert found["recall"] == found["strings"] == share
    same = figures(task.scores, np.ones_like(legal), batch)  # a network that says nothing gets nothing
    assert same["strings"] == 0


def test_a_long_string_is_as_likely_as_it_was_told():
    """No underflow: a thousand symbols embedded, by the length alone."""
    chain = reber.bounded(1000, 1000)
    np.testing.assert_allclose(chain.occupied.sum(1), 1.0, rtol=1e-9)
    assert chain.occupied[1004, reber.END] == pytest.approx(1.0)


SMALL = dict(length=7, batch=3, window=16, epoch_steps=40, eval_batch=4, eval_steps=8, seed=0)


def whole(task, split, steps):
    """The stream that the windows of a split make, [B] strings."""
    batches = every_batch(task, split, 0, steps)
    for one, after in itertools.pairwise(batches):
        np.testing.assert_array_equal(one.targets[-1], after.inputs[0])  # no step is lost between windows
    assert [bool(batch.fresh) for batch in batches] == [True] + [False] * (steps - 1)
    lines = np.concatenate([batch.inputs for batch in batches])
    return ["".join(reber.SYMBOLS[i] for i in line) for line in lines.T]


def test_the_continual_stream_is_whole_strings_without_end():
    task = continual_reber(epochs=3, **SMALL)
    lines = whole(task, "train", 120)
    found = [parse(line) for line in lines]
    inner = [text for texts, _ in found for text in texts]
    assert all(len(rest) < 7 + 4 for _, rest in found)
    assert all(5 <= len(text) <= 7 for text in inner)
    legal = {random_reber(np.random.default_rng(seed)) for seed in range(400)}
    assert set(inner) <= legal and len(set(inner)) == len([text for text in legal if len(text) <= 7])
    second = [line[1] for line in lines]
    assert len(set(lines)) == 3 and len({*second}) <= 2
    assert not set(whole(task, "valid", 8)) & set(whole(task, "test", 8))
    # More epochs go on with the same streams, and the second epoch is not the first again.
    more = whole(continual_reber(epochs=4, **SMALL), "train", 160)
    assert [line[: 120 * 16] for line in more] == lines
    assert all(line[: 40 * 16] != line[40 * 16 : 80 * 16] for line in lines)


def test_chance_of_the_continual_stream_and_what_a_knower_of_the_grammar_has():
    task = continual_reber(epochs=1, **(SMALL | dict(eval_batch=64, eval_steps=40)))
    sums = {"counts": np.zeros(7)}
    score = jax.jit(task.metrics)
    for batch in every_batch(task, "test", 0, 40):
        for metric, pair in score(sharp(batch, 7).astype(np.float32), batch).items():
            sums[metric] = sums.get(metric, 0) + np.array(pair, np.float64)
        sums["counts"] += np.bincount(batch.targets.ravel(), minlength=7)
    share = sums["counts"] / sums["counts"].sum()
    assert -(share * np.log(share)).sum() == pytest.approx(task.chance["nats"], rel=0.01)
    assert share.max() == pytest.approx(task.chance["accuracy"], rel=0.03)
    assert sums["accuracy"][0] == sums["accuracy"][1]
    assert sums["recall"][0] == sums["recall"][1] > 1000
    assert sums["nats"][0] < 1e-6
    # About one step in (mean length) is a recall, and no other is counted as one.
    lines = [parse(line)[0] for line in whole(task, "test", 40)]
    assert abs(sums["recall"][1] - sum(map(len, lines))) <= 64
    assert 0 < task.facts["best_nats"] < task.chance["nats"]


def test_best_nats_is_the_entropy_of_the_forks():
    task = continual_reber(epochs=1, **(SMALL | dict(length=30, eval_batch=64, eval_steps=40)))
    lines = [parse(line)[0] for line in whole(task, "test", 40)]
    forks = symbols = 0
    for inner in itertools.chain(*lines):
        state = reber.START
        for symbol in f"BT{inner}TE":
            forks += (reber.NEXT[state] >= 0).sum() == 2
            symbols += 1
            state = reber.NEXT[state, reber.SYMBOLS.index(symbol)]
    assert np.log(2) * forks / symbols == pytest.approx(task.facts["best_nats"], rel=0.03)


# --- counting, brackets, pairs


def test_counting_is_judged_from_the_first_b_on():
    task = a_n_b_n(length=4)
    batch = drawn(task, 64)
    logits = sharp(batch, 3)
    wrong = logits.copy()
    n = (batch.lengths - 1) // 2
    wrong[n[0], 0] = sharp(batch._replace(targets=np.full_like(batch.targets, 1)), 3)[0, 0]  # before any b
    assert figures(task.scores, wrong, batch)["counted"] == 1.0
    wrong[batch.lengths[0] - 1, 0] = np.eye(3)[2] * 50  # one b too many
    assert figures(task.scores, wrong, batch)["counted"] == 63 / 64
    wrong[batch.lengths[0] - 1, 0] = np.log([0.7, 0.1, 0.2])  # right, but not sure
    assert figures(task.scores, wrong, batch)["counted"] == 63 / 64


def test_every_balanced_string_of_bounded_depth_is_equally_likely():
    def paths(left, depth):
        if left == 0:
            return [""] if depth == 0 else []
        up = ["(" + rest for rest in paths(left - 1, depth + 1)] if depth < 2 else []
        return up + ([")" + rest for rest in paths(left - 1, depth - 1)] if depth else [])

    batch = drawn(dyck(length=8, depth=2), 4096)
    counts = dict.fromkeys(paths(8, 0), 0)
    for line in batch.targets.T:
        counts["".join("(" if symbol < 2 else ")" for symbol in line)] += 1
    mean = 4096 / len(counts)
    assert all(abs(count - mean) < 5 * np.sqrt(mean) for count in counts.values())


def test_brackets_are_balanced_and_no_deeper_than_allowed():
    batch = drawn(dyck(length=30, kinds=3, depth=4), 256)
    deepest = 0
    for line in batch.targets.T:
        text = "".join("([{)]}"[symbol] for symbol in line)
        deepest = max(deepest, max(itertools.accumulate(1 if c in "([{" else -1 for c in text)))
        while text != (text := text.replace("()", "").replace("[]", "").replace("{}", "")):
            pass
        assert text == ""
    assert deepest == 4


def test_a_closing_bracket_must_be_sure_of_its_kind_only():
    task = dyck(length=6)
    batch = drawn(task, 32)
    logits = sharp(batch, 4)
    logits[..., :2] = 80.0  # it expects an opening one, but would know which closes
    assert figures(task.scores, logits, batch)["closing"] == 1.0
    logits[..., 2:] = np.where(np.eye(4)[batch.targets][..., 2:] > 0, np.log(0.79), np.log(0.21))
    assert figures(task.scores, logits, batch)["closing"] == 0.0


def test_queries_are_where_their_law_puts_them():
    """The gap of a single pair: p(g) ~ (g + 1)^(power - 1)."""
    batch = drawn(mqar(length=20, pairs=1, vocab=8, power=0.01), 8192)
    where = (batch.weights > 0).argmax(0)
    assert (batch.weights.sum(0) == 1).all() and set(where) == set(range(2, 20, 2))
    law = np.arange(1, 10) ** -0.99
    mean = 8192 * law / law.sum()
    counts = np.bincount((where - 2) // 2)
    assert (abs(counts - mean) < 5 * np.sqrt(mean)).all()


# --- warps


@pytest.mark.parametrize("form", ["repeat", "pad"])
@pytest.mark.parametrize("warp", ["uniform", "variable"])
def test_a_warp_can_be_undone(warp, form):
    """The text of the same key without a warp is what is left when repetitions and padding are dropped."""
    plain = drawn(warped(length=1, warp=warp, form=form, characters=60), 8)
    slow = drawn(warped(length=5, warp=warp, form=form, characters=12), 8)
    spans = []
    for line, targets, weights in zip(slow.inputs.T, slow.targets.T, slow.weights.T, strict=True):
        starts = [t for t in range(60) if (line[t] if form == "pad" else t == 0 or line[t] != line[t - 1])]
        text = [line[t] - 1 for t in starts]
        assert len(text) >= 12 and all(one != after for one, after in itertools.pairwise(text))
        spans += np.diff([*starts, 60])[:-1].tolist()
        number = np.searchsorted(starts, np.arange(60), side="right") - 1
        np.testing.assert_array_equal(weights, number > 0)
        asked = np.arange(60)[number > 0]
        np.testing.assert_array_equal(targets[asked], np.array(text)[number[asked] - 1])
    assert set(spans) == ({5} if warp == "uniform" else {1, 2, 3, 4, 5})
    assert (plain.targets[1:] == plain.inputs[:-1] - 1).all()


# --- pixels


def fake_images(data_dir=""):
    rng = np.random.default_rng(0)
    sizes = {"train": 23, "valid": 9, "test": 11}
    return image_set.Images(
        {split: rng.integers(0, 17, (count, 9), np.uint8) for split, count in sizes.items()},
        {split: rng.integers(0, 4, count, np.int32) for split, count in sizes.items()},
        classes=4,
        brightest=16,
    )


@pytest.mark.parametrize("permuted", [False, True])
def test_an_evaluation_scores_each_image_once_and_training_leaves_none_out(permuted):
    source = fake_images()
    task = from_images(source, permuted=permuted, length=2, batch=5, eval_batch=4, epochs=3, seed=0)
    order = order_of_pixels(9) if permuted else np.arange(9)
    for split in ("valid", "test"):
        seen = []
        for batch in every_batch(task, split, 0, task.steps[split]):
            assert (batch.weights[:-1] == 0).all() and (batch.inputs[-2:] == 0).all()
            scored = batch.weights[-1] > 0
            for shades, label in zip(batch.inputs[:9, scored, 0].T, batch.targets[-1, scored], strict=True):
                seen.append((*(shades * 16).astype(int), label))
        expected = [
            (*image[order], label)
            for image, label in zip(source.pixels[split], source.labels[split], strict=True)
        ]
        assert sorted(seen) == sorted(expected)
    assert task.epoch_ends.tolist() == [5, 10, 14]  # 23 images: 4.6 steps a pass
    rows = np.concatenate([b.inputs[:9, :, 0].T for b in every_batch(task, "train", 0, 14)])
    for number in range(3):
        one = rows[23 * number : 23 * number + 23] * 16
        np.testing.assert_array_equal(
            np.unique(one, axis=0), np.unique(source.pixels["train"][:, order], axis=0)
        )
    assert (rows[:23] != rows[23:46]).any()
    more = from_images(source, permuted=permuted, length=2, batch=5, eval_batch=4, epochs=4, seed=0)
    jax.tree.map(
        np.testing.assert_array_equal, every_batch(task, "train", 0, 14), every_batch(more, "train", 0, 14)
    )


def test_the_permutation_is_one_for_all_seeds_and_a_permutation():
    assert sorted(order_of_pixels(64)) == list(range(64))
    assert order_of_pixels(64)[:8].tolist() == [20, 14, 62, 25, 17, 53, 47, 35]
    source = fake_images()
    for seed in (0, 1):
        plain = from_images(source, batch=5, epochs=1, seed=seed)
        mixed = from_images(source, permuted=True, batch=5, epochs=1, seed=seed)
        one, other = every_batch(plain, "train", 0, 1)[0], every_batch(mixed, "train", 0, 1)[0]
        np.testing.assert_array_equal(one.inputs[order_of_pixels(9)], other.inputs)
        np.testing.assert_array_equal(one.targets, other.targets)


def test_chance_of_pixels_is_what_the_best_constant_measures():
    task = from_images(fake_images(), batch=5, eval_batch=4, epochs=1, seed=0)
    share = np.bincount(fake_images().labels["test"], minlength=4) / 11
    sums = {}
    for batch in every_batch(task, "test", 0, task.steps["test"]):
        logits = np.broadcast_to(np.log(share), (9, 4, 4)).astype(np.float32)
        for name, pair in task.metrics(logits, batch).items():
            sums[name] = sums.get(name, 0) + np.array(pair)
    for name, (total, count) in sums.items():
        assert count == 11
        assert total / count == pytest.approx(task.chance[name], rel=1e-6)


def test_the_digits_are_scikit_learns_and_no_image_is_in_two_splits():
    pytest.importorskip("sklearn")
    found = images.load_images("digits")
    assert {split: part.shape for split, part in found.pixels.items()} == {
        "train": (1257, 64),
        "valid": (180, 64),
        "test": (360, 64),
    }
    rows = {split: {row.tobytes() for row in part} for split, part in found.pixels.items()}
    assert sum(map(len, rows.values())) == len(set.union(*rows.values())) == 1797
    assert max(part.max() for part in found.pixels.values()) == found.brightest
    for labels in found.labels.values():
        assert set(labels) == set(range(10))


def test_without_scikit_learn_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"pip install 'lstm_jax\[tasks\]'") as raised:
        pixels(epochs=1, seed=0)
    assert "\n" not in str(raised.value)


@pytest.fixture
def mnist_directory(tmp_path, monkeypatch):
    """A tiny MNIST in the authors' format, 10,000 images and one, for the last 10,000 validate."""
    monkeypatch.setenv("LSTM_JAX_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    (tmp_path / "files").mkdir()
    made = {}
    for stem, count in (("train", 10_003), ("t10k", 7)):
        pixels = np.zeros((count, 28, 28), np.uint8)
        pixels[:, 3] = rng.integers(0, 256, (count, 28))
        labels = rng.integers(0, 10, count, np.uint8)
        header = np.array([2051, count, 28, 28], ">i4").tobytes()
        for kind, content in (
            ("images-idx3", header + pixels.tobytes()),
            ("labels-idx1", np.array([2049, count], ">i4").tobytes() + labels.tobytes()),
        ):
            path = tmp_path / "files" / f"{stem}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(content, 1))
        made[stem] = pixels.reshape(count, -1), labels
    return tmp_path / "files", made


def test_mnist_is_read_from_its_authors_files_once_they_are_the_right_ones(mnist_directory, monkeypatch):
    from tensorflow_datasets.core.download.checksums import UrlInfo

    from lstm_jax.corpora import mnist_builder

    directory, made = mnist_directory
    with pytest.raises(UserError, match=r"MNIST could not be downloaded \(Artifact") as raised:
        images.load_images("mnist", str(directory))
    assert "\n" not in str(raised.value)
    files = {name: (directory / name).read_bytes() for name in mnist_builder.FILES}
    monkeypatch.setattr(
        mnist_builder.Builder,
        "url_infos",
        {
            url: UrlInfo(len(files[name]), hashlib.sha256(files[name]).hexdigest(), name)
            for name, url in mnist_builder.FILES.items()
        },
    )
    found = images.load_images("mnist", str(directory))
    again = images.load_images("mnist", "")  # from the cache, without the files
    for source in (found, again):
        np.testing.assert_array_equal(source.pixels["train"], made["train"][0][:3])
        np.testing.assert_array_equal(source.pixels["valid"], made["train"][0][3:])
        np.testing.assert_array_equal(source.labels["valid"], made["train"][1][3:])
        np.testing.assert_array_equal(source.pixels["test"], made["t10k"][0])
        np.testing.assert_array_equal(source.labels["test"], made["t10k"][1])


def test_unknown_images_are_told():
    with pytest.raises(UserError, match="unknown source of images 'digit': did you mean 'digits'"):
        make_task("pixels", source="digit", epochs=1, seed=0)


# --- questions


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_answers_from_the_words_alone_and_finds_every_answer_possible(kind):
    task = questions(length=9, kind=kind)
    batch = drawn(task, 600)
    answers = []
    for column, targets in zip(batch.inputs.T, batch.targets.T, strict=True):
        words = [WORDS[token] for token in column]
        assert words.count("?") == 1 and words.count(".") == 9 and words[-1] == "?"
        answers.append(ANSWERS[targets[-1]])
        assert read(words) == answers[-1], " ".join(words)
    expected = {"yes_no": {"yes", "no"}, "counting": {"none", "one", "two", "three"}}
    assert set(answers) == expected.get(kind, set(ANSWERS[:6]))


def test_the_facts_tell_where_sentences_end():
    task = make_task("questions", kind="all", epochs=1, seed=0)
    facts = task.facts
    assert facts["words"][facts["sentence_end"]] == "." and facts["words"][facts["question_end"]] == "?"
    (batch,) = every_batch(task, "valid", 0, 1)
    for b, end in enumerate(batch.lengths):
        line = batch.inputs[:end, b]
        assert line[-1] == facts["question_end"]
        assert (line == facts["sentence_end"]).sum() == 6
        assert (np.flatnonzero(line == facts["sentence_end"]) % facts["words_of_a_sentence"] == 5).all()
        assert batch.weights[end - 1, b] == 1 and batch.weights[:, b].sum() == 1
        assert " ".join(facts["words"][token] for token in line).endswith("?")


def test_three_facts_need_three():
    """The last two sentences about the thing's bearer do not tell: the same thing was elsewhere before."""
    batch = drawn(questions(length=8, kind="three"), 200)
    for column, targets in zip(batch.inputs.T, batch.targets.T, strict=True):
        story = " ".join(WORDS[token] for token in column).split(" . ")
        thing, place, answer = story[-1].split()[3], story[-1].split()[6], ANSWERS[targets[-1]]
        assert any(thing in sentence for sentence in story[:-1])
        assert any(sentence.endswith(f"went to the {place}") for sentence in story[:-1])
        assert any(sentence.endswith(f"went to the {answer}") for sentence in story[:-1])
        assert answer != place


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("embedded_reber", dict(length=4), "length=4 is not possible"),
        ("embedded_reber", dict(least=1.5), "least=1.5 is not possible"),
        ("continual_reber", dict(length=3), "length=3 is not possible"),
        ("continual_reber", dict(window=0), "window=0 is not possible"),
        ("associative_recall", dict(length=27), "length=27 is not possible"),
        ("mqar", dict(length=15), "length=15 is not possible"),
        ("mqar", dict(vocab=33), "must be even"),
        ("mqar", dict(power=float("inf")), "power=inf is not possible: it must be a finite number"),
        ("continual_reber", dict(length=12.0), r"length=12\.0 is not possible: it must be a whole number"),
        ("continual_reber", dict(least=float("nan")), "least=nan is not possible: it must be a finite"),
        ("mqar", dict(vocab=8), "vocab=8 is not possible"),
        ("a_n_b_n", dict(letters=1), "letters=1 is not possible"),
        ("a_n_b_n", dict(length=1), "solved by chance, without a look at the input: counted 1, where"),
        ("a_n_b_n", dict(least=1.0), "solved by chance"),
        ("a_n_b_n", dict(length=10, least=0.91), "solved by chance"),
        ("dyck", dict(length=7), "must be even"),
        ("dyck", dict(kinds=1), "kinds=1 is not possible"),
        ("warped", dict(warp="variabel"), "unknown warp 'variabel': did you mean 'variable'"),
        ("warped", dict(form="repeats"), "unknown form of a warp 'repeats': did you mean 'repeat'"),
        ("questions", dict(kind="four"), "unknown kind of question 'four'"),
        ("questions", dict(kind="three", length=2), "length=2 is not possible: it must be 3 or more"),
    ],
)
def test_what_is_impossible_is_told(name, options, message):
    with pytest.raises(UserError, match=message):
        make_task(name, **(dict(epochs=1, seed=0) | options))
