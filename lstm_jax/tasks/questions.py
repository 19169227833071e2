"""Questions about a small world: people go about, pick things up and put them down; then one is asked.

In the manner of the bAbI tasks 1, 2, 3, 6 and 7 (Weston et al. 2015), with a world and words of our own,
drawn on the device: where is somebody (one supporting fact), where is a thing (two: who has it, and where did
they go), where was it before (three), yes or no, and how many things somebody carries. All the facts that an
answer needs are in the story; what makes it hard is to find them among the others.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key
from lstm_jax.support.registry import check_name
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["ANSWERS", "KINDS", "WORDS", "questions"]

KINDS = ("one", "two", "three", "yes_no", "counting")
PEOPLE = ("ada", "ben", "cleo", "dan")
PLACES = ("attic", "barn", "cellar", "garden", "harbour", "kitchen")
THINGS = ("coin", "lamp", "rope")
P, L, O = len(PEOPLE), len(PLACES), len(THINGS)
_OTHERS = ". ? went to the picked up put down where is was before in how many things does carry"
WORDS = (*_OTHERS.split(" "), *PEOPLE, *PLACES, *THINGS)
"""Token numbers are places in this list; a sentence ends with 0, the question with 1."""
ANSWERS = (*PLACES, "yes", "no", "none", "one", "two", "three")
"""Classes, the same for every kind of question."""
NONE_KNOWN = -1

_ASK = {
    "one": "where is {person} ?",
    "two": "where is the {thing} ?",
    "three": "where was the {thing} before the {place} ?",
    "yes_no": "is {person} in the {place} ?",
    "counting": "how many things does {person} carry ?",
}
_MOVE, _TAKE, _DROP = 1.0, 0.25, 0.5
"""Weights where people move and carry things: of a person's moves, of each possible taking and dropping."""


def _tokens(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


SENTENCES = np.array(
    [
        [_tokens(f"{person} went to the {place} .") for place in PLACES]
        + [_tokens(f"{person} picked up the {thing} .") for thing in THINGS]
        + [_tokens(f"{person} put down the {thing} .") for thing in THINGS]
        for person in PEOPLE
    ],
    np.int32,
)
"""[P, L + 2 O, 6] what each deed is in words: moves, takings, droppings."""
SENTENCE = SENTENCES.shape[-1]
_LENGTHS = np.array([len(ask.split()) for ask in _ASK.values()], np.int32)
"""Words of each kind of question: no two alike."""
_LONGEST = int(_LENGTHS.max())


def _table(kind: str) -> np.ndarray:
    """[P, O, L, longest] tokens of a question by whom, what and where it names."""
    table = np.zeros((P, O, L, _LONGEST), np.int32)
    for p, o, l in np.ndindex(P, O, L):
        line = _tokens(_ASK[kind].format(person=PEOPLE[p], thing=THINGS[o], place=PLACES[l]))
        table[p, o, l, : len(line)] = line
    return table


ASKED = np.stack([_table(kind) for kind in KINDS])
"""[kinds, P, O, L, longest] questions in words."""


class World(NamedTuple):
    """What is so after some sentences; -1 is unknown, or nobody.

    Attributes:
      where: [P] place of each person.
      holder: [O] who carries each thing.
      lies: [O] place of each thing that nobody carries.
      before: [O, L] where each thing was just before it came to a place the last time.
    """

    where: Array
    holder: Array
    lies: Array
    before: Array

    def places(self) -> Array:
        """[O] place of each thing, carried or not."""
        return jnp.where(self.holder >= 0, self.where[self.holder], self.lies)


def questions(*, length: int = 6, kind: str = "one") -> Generator:
    """A story of `length` sentences, a question about it, and one word as the answer at its "?".

    Kinds: one: "where is ada ?"; two: "where is the coin ?"; three: "where was the coin before the attic ?",
    that is before it came there the last time; yes_no: "is ada in the attic ?"; counting: "how many things
    does ada carry ?"; all: any of the five. A sentence has 6 words and the full stop is one of them; things
    are only picked up where they are, and what is asked for is always told.

    Chance: all places are alike to the world, so the answers to one, two and three are uniform over the 6;
    yes and no are drawn evenly; for counting, every sentence is about a thing drawn uniformly, which is taken
    by anybody or dropped, so that the number of things held is a Markov chain, and how many of them the
    person asked about holds is binomial. Each kind's question has a length of its own, which tells the kind:
    for all, chance is the mean.
    Solved: 95 % right (bAbI's own mark).

    Args:
      length: sentences of the story.
      kind: a kind of question, or all.

    Raises:
      UserError: an unknown kind, or a story that is too short for it.
    """
    check_name(kind, (*KINDS, "all"), "kind of question")
    check("length", length, {"two": 2, "three": 3, "all": 3}.get(kind, 1))
    kinds = range(len(KINDS)) if kind == "all" else [KINDS.index(kind)]
    steps = SENTENCE * length + max(_LENGTHS[list(kinds)])
    sentences, asked, lengths = jnp.asarray(SENTENCES), jnp.asarray(ASKED), jnp.asarray(_LENGTHS)

    def draw(key: Key) -> Example:
        which, tell, ask = jax.random.split(key, 3)
        number = jnp.asarray(kinds)[jax.random.randint(which, (), 0, len(kinds))]
        deeds, world = _story(tell, number, length)
        person, thing, place, answer = _question(ask, number, world)
        story = sentences.reshape(-1, SENTENCE)[deeds].ravel()
        inputs = jnp.concatenate([story, asked[number, person, thing, place]])[:steps]
        real = SENTENCE * length + lengths[number]
        weights = (jnp.arange(steps) == real - 1).astype(jnp.float32)
        return Example(inputs, jnp.full(steps, answer), weights, real if kind == "all" else None)

    chances = [_chance(KINDS[number], length) for number in kinds]
    return Generator(
        draw,
        steps=int(steps),
        vocab=len(WORDS),
        outputs=len(ANSWERS),
        chance={name: float(np.mean([chance[name] for chance in chances])) for name in chances[0]},
        solved=(Criterion("accuracy", 0.95, above=True),),
        bits=float(np.mean([_bits(KINDS[number], length) for number in kinds])) + math.log2(len(kinds)),
        facts={
            "words": list(WORDS),
            "answers": list(ANSWERS),
            "sentence_end": WORDS.index("."),
            "question_end": WORDS.index("?"),
            "words_of_a_sentence": SENTENCE,
        },
    )


def _story(key: Key, kind: Array, length: int) -> tuple[Array, World]:
    """The numbers of the sentences [length], and the world after them.

    So that a question about a thing can be asked, somebody somewhere must take one (two), and must then carry
    it elsewhere (three): at sentences drawn at random these deeds are the only ones allowed, and nobody
    undoes them in between. They are distributed as any other deed is; the rest is free.
    """
    places, hero, prize, deeds = jax.random.split(key, 4)
    counting = kind == KINDS.index("counting")
    carrying = (kind == KINDS.index("two")) | (kind == KINDS.index("three"))
    person, thing = jax.random.randint(hero, (), 0, P), jax.random.randint(prize, (), 0, O)
    # Sentences of the forced deeds in order: a move, the taking, a move; `length` is never.
    forced = jnp.where(kind == KINDS.index("two"), 2, jnp.where(kind == KINDS.index("three"), 3, 0))
    drawn = jnp.concatenate([jax.random.permutation(places, length), jnp.full(3, length)])[:3]
    come, take, leave = jnp.sort(jnp.where(jnp.arange(3) < forced, drawn, length))
    move_weight = jnp.where(counting, 0.0, _MOVE)
    take_weight = jnp.where(counting, 1 / P, jnp.where(carrying, _TAKE, 0.0))
    drop_weight = jnp.where(counting, 1.0, jnp.where(carrying, _DROP, 0.0))

    def tell(world: World, now: tuple[Array, Key]) -> tuple[World, Array]:
        t, key = now
        is_prize, is_hero = jnp.arange(O) == thing, (jnp.arange(P) == person)[:, None]
        elsewhere = jnp.arange(L) != world.where[:, None]
        free = (world.holder == NONE_KNOWN) & ~(is_prize & (t < take) & (take < length))
        here = counting | (
            (world.where[:, None] >= 0) & ((world.lies == NONE_KNOWN) | (world.lies == world.where[:, None]))
        )
        holds = world.holder == jnp.arange(P)[:, None]
        kept = is_prize & (take < t) & (t < leave) & (leave < length)
        moves = elsewhere * move_weight / elsewhere.sum(1, keepdims=True)
        takes = (free & here) * take_weight
        drops = (holds & ~kept) * drop_weight
        must_move, must_take = (t == come) | (t == leave), t == take
        moves = jnp.where(must_move, (is_hero & elsewhere) * 1.0, jnp.where(must_take, 0.0, moves))
        takes = jnp.where(must_move, 0.0, jnp.where(must_take, (is_hero & is_prize) * 1.0, takes))
        drops = jnp.where(must_move | must_take, 0.0, drops)
        weights = jnp.concatenate([moves, takes, drops], axis=1).ravel()
        deed = jax.random.categorical(key, jnp.log(weights))
        return _done(world, deed // (L + 2 * O), deed % (L + 2 * O)), deed

    unknown = World(
        jnp.full(P, NONE_KNOWN),
        jnp.full(O, NONE_KNOWN),
        jnp.full(O, NONE_KNOWN),
        jnp.full((O, L), NONE_KNOWN),
    )
    world, told = jax.lax.scan(tell, unknown, (jnp.arange(length), jax.random.split(deeds, length)))
    return told, world


def _done(world: World, person: Array, deed: Array) -> World:
    """The world after a person's deed: a move to place `deed`, then the takings, then the droppings."""
    old = world.places()
    move, take = deed < L, (deed >= L) & (deed < L + O)
    is_person = jnp.arange(P) == person
    where = jnp.where(is_person & move, deed, world.where)
    took = jnp.arange(O) == deed - L
    dropped = jnp.arange(O) == deed - L - O
    holder = jnp.where(took & take, person, jnp.where(dropped, NONE_KNOWN, world.holder))
    new = World(where, holder, jnp.where(dropped, world.where[person], world.lies), world.before)
    moved = (old >= 0) & (new.places() != old)
    came = moved[:, None] & (jnp.arange(L) == new.places()[:, None])
    return new._replace(before=jnp.where(came, old[:, None], world.before))


def _question(key: Key, kind: Array, world: World) -> tuple[Array, Array, Array, Array]:
    """Whom, what and where a question names, and the class of its answer."""
    who, what, coin, other = jax.random.split(key, 4)

    def one_of(key: Key, possible: Array) -> Array:
        return jax.random.categorical(key, jnp.where(possible, 0.0, -jnp.inf).ravel())

    counting = kind == KINDS.index("counting")
    person = one_of(who, counting | (world.where >= 0))
    thing = one_of(what, world.places() >= 0)
    pair = one_of(what, world.before >= 0)
    true = world.where[person]
    wrong = (true + jax.random.randint(other, (), 1, L)) % L
    yes = jax.random.bernoulli(coin)
    count = (world.holder == person).sum()
    by_kind = {  # thing, place, answer
        "one": (0, 0, true),
        "two": (thing, 0, world.places()[thing]),
        "three": (pair // L, pair % L, world.before.ravel()[pair]),
        "yes_no": (0, jnp.where(yes, true, wrong), jnp.where(yes, L, L + 1)),
        "counting": (0, 0, L + 2 + count),
    }
    columns = zip(*(by_kind[name] for name in KINDS), strict=True)
    thing, place, answer = (
        jnp.stack([jnp.asarray(x, jnp.int32) for x in column])[kind] for column in columns
    )
    return person, thing, place, answer


def _held(length: int) -> np.ndarray:
    """[length + 1, O + 1] distribution of the number of things held: one up or down at each sentence."""
    share = np.zeros((length + 1, O + 1))
    share[0, 0] = 1.0
    for t in range(length):
        for held in range(O + 1):
            if held < O:
                share[t + 1, held + 1] += share[t, held] * (O - held) / O
            if held:
                share[t + 1, held - 1] += share[t, held] * held / O
    return share


def _chance(kind: str, length: int) -> dict[str, float]:
    """The best constant's metrics on one kind of question."""
    if kind == "counting":
        held = _held(length)[-1]
        law = [
            sum(held[n] * math.comb(n, c) * P**-c * (1 - 1 / P) ** (n - c) for n in range(c, O + 1))
            for c in range(O + 1)
        ]
    else:
        law = [1 / 2] * 2 if kind == "yes_no" else [1 / L] * L
    return {"nats": -sum(p * math.log(p) for p in law if p > 0), "accuracy": max(law)}


def _bits(kind: str, length: int) -> float:
    """The entropy of a story and its question for counting, else a bound that it is not below."""
    if kind == "counting":
        free = sum(float(share @ (1 - np.arange(O + 1) / O)) for share in _held(length)[:-1])
        return length * math.log2(O) + free * math.log2(P) + math.log2(P)
    move = math.log2(P * (L - 1))
    if kind in ("one", "yes_no"):
        return length * move
    moves = P * _MOVE / (P * _MOVE + P * O * _TAKE)  # the least share of moves among the free sentences
    forced = 2 if kind == "two" else 3
    return (length - forced) * moves * move + (forced - 1) * math.log2(L - 1) + math.log2(P * O)
