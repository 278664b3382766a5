"""Our own HTTP/1.1 client for the hot path: one POST, one reply, faults as values."""

from nightkiln.backends.transport.pool import Pool
from nightkiln.backends.transport.reply import HttpReply
from nightkiln.backends.transport.target import Target

__all__ = ["HttpReply", "Pool", "Target"]
