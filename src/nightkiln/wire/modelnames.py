"""Whether a reply comes from the model that was asked: names of the same model, compared. Pure.

Providers answer under longer names than they are asked under: with a date, a
version, a tag, a folder. A name that goes on in any other way is another model:
`gpt-4o-mini` is not `gpt-4o`, and a fallback to it must not go unseen.
"""

import re
from typing import Final

_SUFFIX: Final = re.compile(
    r"(?:[-@:](?:latest|\d{4}-\d{2}-\d{2}|\d{3,8}|v\d+(?:[.:]\d+)?)|:[\w.-]+|\.gguf)+"
)
_LATEST: Final = re.compile(r"[-:]latest$")


def is_same_model(asked: str, answered: str) -> bool:
    """True for the asked name, or a dated, tagged or shortened form of it, either way round."""
    if asked == answered:
        return True
    one, other = _bare(asked), _bare(answered)
    shorter, longer = sorted((one, other), key=len)
    rest = longer.removeprefix(shorter)
    return one == other or (bool(shorter) and rest != longer and bool(_SUFFIX.fullmatch(rest)))


def _bare(name: str) -> str:
    """A name without its folder or organisation, and without saying that it is the newest."""
    return _LATEST.sub("", name.strip().rstrip("/").rpartition("/")[2].lower())
