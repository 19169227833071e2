"""A reader of the little stories: only the words, no state of the generator."""

from lstm_jax.tasks.questions import ANSWERS, WORDS
from tests.solvers.frame import Known


def read(words):
    """What the answer to a text is: the sentences one by one, then the question."""
    sentences = " ".join(words).split(" . ")
    *story, question = sentences
    where, carrier, lying, track = {}, {}, {}, {}
    for sentence in story:
        who, verb, *rest = sentence.split()
        what = rest[-1]
        if verb == "went":
            assert rest[:2] == ["to", "the"] and where.get(who) != what
            where[who] = what
        elif rest[0] == "up":
            assert verb == "picked" and what not in carrier
            assert lying.pop(what, where.get(who)) == where.get(who), "it is not there"
            carrier[what] = who
        else:
            assert (verb, rest[0]) == ("put", "down") and carrier.pop(what) == who
            lying[what] = where.get(who)
        for thing in {*carrier, *lying}:
            now = where.get(carrier[thing]) if thing in carrier else lying[thing]
            if now is not None and track.setdefault(thing, [now])[-1] != now:
                track[thing].append(now)
    question = question.split()
    if question[:2] == ["where", "was"]:
        thing, place = question[3], question[6]
        came = max(i for i, at in enumerate(track[thing]) if at == place)
        assert came > 0
        return track[thing][came - 1]
    if question[:3] == ["where", "is", "the"]:
        return track[question[3]][-1]
    if question[:2] == ["where", "is"]:
        return where[question[2]]
    if question[0] == "is":
        return "yes" if where[question[1]] == question[4] else "no"
    who = question[4]
    return ("none", "one", "two", "three")[sum(carries == who for carries in carrier.values())]


def questions(steps, *, length, kind):
    requested = []
    for token in steps:
        requested.append(WORDS[token])
        yield ANSWERS.index(read(requested)) if requested[-1] == "?" else None


SOLVERS = {
    "questions": Known(
        questions,
        [
            dict(length=6),
            dict(length=1, kind="counting"),
            dict(length=7, kind="all"),
        ],
    ),
}
