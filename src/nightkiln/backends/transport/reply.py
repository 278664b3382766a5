"""A whole HTTP reply. It judges nothing."""


class HttpReply:
    """Status, headers and decoded body of one reply.

    Headers stay the bytes they came as; most replies are never asked for them.
    """

    __slots__ = ("_items", "body", "status")

    def __init__(self, status: int, items: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.body = body
        self._items = items

    def header(self, name: bytes) -> str:
        """The first value of the header `name`, given in lower case; empty when absent."""
        for key, value in self._items:
            if len(key) == len(name) and key.lower() == name:
                return value.decode("latin-1")
        return ""

    def headers(self) -> dict[str, str]:
        """All headers with lower-case names; of repeated ones the first."""
        found: dict[str, str] = {}
        for key, value in self._items:
            found.setdefault(key.decode("latin-1").lower(), value.decode("latin-1"))
        return found
