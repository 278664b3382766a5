"""Sentences a person should read once, on standard error. Standard output is never touched."""

import sys


def say(text: str) -> None:
    """Say a sentence; a script without standard error goes on in silence."""
    stream = sys.stderr
    if stream is None or stream.closed:
        return
    try:
        stream.write(f"nightkiln: {text}\n")
        stream.flush()
    except (OSError, ValueError):
        pass  # the other end is gone; that is no reason to stop
