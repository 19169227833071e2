"""A token as a person can see it: spaces, line breaks and control characters are signs of their own."""

__all__ = ["printable"]

_SIGNS = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}


def printable(token: str, most: int = 0, *, spaces: bool = True) -> str:
    """`token` on one line without anything that a terminal or an axis would swallow or obey.

    Args:
      token: any text.
      most: characters that are shown, the last one an ellipsis where there are more; 0: all.
      spaces: whether a space is a sign too, as it must be in a token; in a label of words it need not.
    """
    signs = _SIGNS if spaces else {**_SIGNS, " ": " "}
    seen = "".join(
        signs.get(sign, sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii"))
        for sign in token
    )
    return seen if not most or len(seen) <= most else seen[: most - 1] + "\u2026"
