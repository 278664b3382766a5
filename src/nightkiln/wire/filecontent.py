"""The headers of a file that is sent: which bytes of it, and under what name. Pure.

One range is served (RFC 9110); several at once are allowed to be answered with
the whole, and so is a range whose file has changed since. A name that is more
than ASCII is said in both ways (RFC 6266): for old clients, and right.
"""

import re
from typing import Final
from urllib.parse import quote

import msgspec

OK: Final = 200
PARTIAL: Final = 206
UNSATISFIABLE: Final = 416
_RANGE: Final = re.compile(
    r"bytes[ \t]*=[ \t]*(\d{0,30})[ \t]*-[ \t]*(\d{0,30})", re.ASCII | re.IGNORECASE
)
_UNSAFE: Final = re.compile(r"[^ !#$&+.^_`|~0-9A-Za-z(){}\[\],;=@-]")
_ATTRIBUTE: Final = "!#$&+-.^_`|~"  # besides letters and digits, what RFC 8187 leaves as it is
_UNNAMED: Final = "file"


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes are sent, and how the reply says so."""

    status: int  # 200 the whole, 206 a part, 416 nothing
    start: int
    length: int
    size: int  # of the whole file

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Content-Length and what belongs to ranges."""
        says = [("accept-ranges", "bytes"), ("content-length", str(self.length))]
        if self.status == PARTIAL:
            last = self.start + self.length - 1
            says.append(("content-range", f"bytes {self.start}-{last}/{self.size}"))
        if self.status == UNSATISFIABLE:
            says.append(("content-range", f"bytes */{self.size}"))
        return tuple(says)


def content_of(
    size: int, *, asked: str | None = None, if_range: str | None = None, etag: str | None = None
) -> Content:
    """What a request with these headers gets of a file of `size` bytes.

    `asked` is the header Range. With `if_range` a part is sent only while the file
    is the one with that `etag`; a date there never is.
    """
    whole = Content(status=OK, start=0, length=size, size=size)
    if asked is None or (if_range is not None and not _is_same(if_range, etag)):
        return whole
    found = _RANGE.fullmatch(asked.strip())
    if found is None:
        return whole
    first, last = found.groups()
    if not (first or last) or (first and last and int(first) > int(last)):
        return whole  # no range at all by the rules of RFC 9110
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        return Content(status=UNSATISFIABLE, start=0, length=0, size=size)
    return Content(status=PARTIAL, start=start, length=end - start, size=size)


def _is_same(if_range: str, etag: str | None) -> bool:
    """Strong comparison: a weak tag promises nothing about bytes."""
    return etag is not None and not etag.startswith("W/") and if_range.strip() == etag


def disposition(filename: str) -> str:
    """The header Content-Disposition of a download. Folders of the name are left out."""
    name = re.split(r"[/\\]", filename)[-1].strip() or _UNNAMED
    plain = _UNSAFE.sub("_", name)
    said = f'attachment; filename="{plain}"'
    if plain == name:
        return said
    return f"{said}; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE, errors='replace')}"
