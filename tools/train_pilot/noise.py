"""What hurried people do to text: typos, lost letters, lost punctuation, odd casing.

Noise is applied while slots are still open (`{order}`), so what must be copied is
never damaged; casing comes last and is applied to the labels as well.
"""

import random
import re

SLOT = re.compile(r"(\{[a-z]+\})")
DENIAL = re.compile(r"^(?:not?|never|no|without|but|cannot|nothing|nobody)\b|n't")
NEIGHBOURS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "r": "et",
    "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "y": "tu",
}  # fmt: skip


def typos(text: str, dice: random.Random, rate: float) -> str:
    """`text` with about `rate` of its longer words misspelt; slots stay whole."""
    pieces = SLOT.split(text)
    for at in range(0, len(pieces), 2):
        words = pieces[at].split(" ")
        pieces[at] = " ".join(
            _mistype(word, dice) if len(word) > 3 and dice.random() < rate else word
            for word in words
        )
    return "".join(pieces)


def gappy(text: str, dice: random.Random, rate: float) -> str:
    """`text` with about `rate` of its words left out; slots and denials stay.

    Only training uses this: it keeps the model from leaning on one word of a template.
    """
    words = text.split(" ")
    kept = [
        word
        for word in words
        if "{" in word or DENIAL.search(word.lower()) or dice.random() >= rate
    ]
    return " ".join(kept) if kept else text


def careless(text: str, dice: random.Random) -> str:
    """`text` with some of its punctuation left out."""
    kind = dice.random()
    if kind < 0.4:
        return text.rstrip(".!?")
    if kind < 0.7:
        return text.replace("'", "")
    return re.sub(r"[.,!?'](?=\s|$)", "", text)


def cased(text: str, kind: str) -> str:
    """`text` in the casing named: `lower`, `upper`, or as it is."""
    if kind == "lower":
        return text.lower()
    return text.upper() if kind == "upper" else text


def _mistype(word: str, dice: random.Random) -> str:
    at = dice.randrange(1, len(word) - 1)
    kind = dice.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    near = NEIGHBOURS.get(word[at].lower())
    return word[:at] + dice.choice(near) + word[at + 1 :] if near else word
