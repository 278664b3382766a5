"""Publishing: a generation's parts under their public names, and the manifest.

Only what stands here is public. The folder is an ordinary Parquet dataset; the
manifest is the ordered list of its files, written last, so whoever sees it sees
everything it names.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from nightkiln.core import crashpoints
from nightkiln.core.chunk import Chunk
from nightkiln.core.ids import JobId
from nightkiln.core.usage import Totals
from nightkiln.vault.durable import disk_errors, fsync_dir, link, make_dir, write_bytes
from nightkiln.vault.home import JobFiles

MANIFEST = "_manifest.json"  # readers of Parquet folders pass over a leading underscore


class PublishedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One published part."""

    name: str
    chunk: int
    first_row: int
    rows: int  # rows of the chunk; a partial part holds fewer
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation published."""

    version: int = 1
    job: JobId
    generation: int
    outcome: str
    rows: int
    totals: Totals
    files: tuple[PublishedFile, ...]


def publish(files: JobFiles, chunks: Sequence[Chunk], manifest: Manifest) -> Manifest:
    """Link the committed parts of `chunks` and write the manifest. Safe to repeat."""
    folder = files.published(manifest.generation)
    with disk_errors("publishing the results"):
        make_dir(folder)
        named = tuple(_linked(files, chunk, manifest.generation) for chunk in chunks)
        fsync_dir(folder)
        crashpoints.reach("publish.linked")
        whole = msgspec.structs.replace(manifest, files=named)
        write_bytes(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(whole), indent=1))
        crashpoints.reach("publish.manifest")
    return whole


def _linked(files: JobFiles, chunk: Chunk, generation: int) -> PublishedFile:
    assert chunk.committed_epoch is not None
    name = f"part-{chunk.number:05d}.parquet"
    link(files.part(chunk.number, chunk.committed_epoch), files.published(generation) / name)
    return PublishedFile(
        name=name,
        chunk=chunk.number,
        first_row=chunk.first_row,
        rows=chunk.rows,
        sha256=chunk.sha256,
    )


def read_manifest(files: JobFiles, generation: int) -> Manifest | None:
    """The manifest of a generation, or None when it is not published."""
    return manifest_in(files.published(generation))


def manifest_in(folder: Path) -> Manifest | None:
    """The manifest in a folder, or None when nothing of ours is there."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    return msgspec.json.decode(path.read_bytes(), type=Manifest)
