"""How a run reads texts, kept beside it: with texts that read otherwise none goes on or is looked into."""

import json
from pathlib import Path

from lstm_jax.corpora.encoder import Encoder, read_encoder, write_encoder
from lstm_jax.corpora.vocabulary import Vocabulary, read_vocabulary, write_vocabulary

__all__ = ["describe_encoding_change", "describe_text_change", "save_encoding"]


def save_encoding(encoding: Vocabulary | Encoder, fingerprint: str, path: str | Path) -> None:
    """Writes how texts are read, and the fingerprint of the texts, for the functions below."""
    more = {"fingerprint": fingerprint}
    if isinstance(encoding, Encoder):
        write_encoder(encoding, path, more)
    else:
        write_vocabulary(encoding, path, more)


def describe_encoding_change(encoding: Vocabulary | Encoder, path: str | Path) -> str:
    """Where the tokens or labels of `encoding` differ from those kept at `path`, as a clause; "" nowhere.

    Raises:
      UserError: the file cannot be read.
    """
    if isinstance(encoding, Encoder):
        labels, now = read_encoder(path).labels, encoding.labels
        for kind, others in (("new", set(now) - set(labels)), ("gone", set(labels) - set(now))):
            if others:
                more = f" and {len(others) - 1} more labels are" if len(others) > 1 else " is"
                return f"the label {min(others)!r}{more} {kind}"
        encoding = encoding.vocabulary
    tokens, now = read_vocabulary(path).tokens, encoding.tokens
    if len(tokens) != len(now):
        return f"the vocabulary had {len(tokens)} tokens and now has {len(now)}"
    for place, (was, token) in enumerate(zip(tokens, now, strict=True)):
        if was != token:
            return f"token {place} of the vocabulary was {was!r} and now is {token!r}"
    return ""


def describe_text_change(encoding: Vocabulary | Encoder, fingerprint: str, path: str | Path) -> str:
    """As `describe_encoding_change`, and of texts that are read alike, whether they are others.

    Files of before fingerprints were kept have none: nothing is said of those.
    """
    if clause := describe_encoding_change(encoding, path):
        return clause
    was = json.loads(Path(path).read_text(encoding="utf-8")).get("fingerprint", fingerprint)
    return "" if was == fingerprint else f"their fingerprint was {was} and now is {fingerprint}"
