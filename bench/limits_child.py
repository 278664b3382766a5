"""Our command line with the limit written down as it changes: JSON lines on standard output.

Each line is the monotonic clock, which all processes of a machine share, and
the requests that may be in flight. Measures the command it is given.
"""

import atexit
import json
import sys
import time

from nightkiln.cli.main import main
from nightkiln.plan.limiter import AdaptiveLimit

_LEAST_S = 0.05
_seen: list[tuple[float, int]] = []
_tick = AdaptiveLimit.tick


def _watched(self: AdaptiveLimit, now: float) -> None:
    _tick(self, now)
    at = time.monotonic()
    if not _seen or at - _seen[-1][0] >= _LEAST_S:
        _seen.append((at, self.limit))


if __name__ == "__main__":
    AdaptiveLimit.tick = _watched  # type: ignore[method-assign]
    atexit.register(lambda: print(json.dumps(_seen)))
    sys.exit(main())
