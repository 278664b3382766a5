"""Names of things. An id is opaque, url-safe, sorts by creation time and never repeats."""

from typing import Final, NewType

JobId = NewType("JobId", str)
ProjectId = NewType("ProjectId", str)
RunId = NewType("RunId", str)  # one life of one worker; a new process is a new run

DEFAULT_PROJECT: Final = ProjectId("default")
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
_ENTROPY_BYTES: Final = 8


def new_job_id(*, now: float, entropy: bytes) -> JobId:
    """`job_` and 22 letters: 46 bits of milliseconds, then 64 random bits."""
    return JobId(new_id("job_", now=now, entropy=entropy))


def new_run_id(*, now: float, entropy: bytes) -> RunId:
    """`run_` and 22 letters, made like a job's id."""
    return RunId(new_id("run_", now=now, entropy=entropy))


def new_id(prefix: str, *, now: float, entropy: bytes) -> str:
    """A prefix and 22 letters, made like a job's id: of files, batches, keys and requests."""
    return prefix + _sortable(now, entropy)


def _sortable(now: float, entropy: bytes) -> str:
    if len(entropy) != _ENTROPY_BYTES:
        raise ValueError(f"an id takes {_ENTROPY_BYTES} random bytes, got {len(entropy)}")
    number = (int(now * 1000) << 64) | int.from_bytes(entropy, "big")
    letters = []
    for _ in range(23):
        number, digit = divmod(number, 32)
        letters.append(_ALPHABET[digit])
    return "".join(reversed(letters))[1:]
