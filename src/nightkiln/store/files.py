"""Files and uploads in SQL: what they are. Their bytes lie in the home, under their id."""

from sqlalchemy import RowMapping, delete, insert, select, update

from nightkiln.core.errors import NotFound
from nightkiln.core.files import FileId, Purpose, StoredFile, Upload, UploadId, UploadState
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.store import codec
from nightkiln.store.paging import Page, rows_of
from nightkiln.store.schema import files, uploads
from nightkiln.store.tx import Tx


async def insert_file(tx: Tx, file: StoredFile) -> None:
    """Record a file whose bytes are durable."""
    await tx.change(
        insert(files).values(
            id=file.id,
            project_id=file.project,
            name=file.name,
            purpose=file.purpose.value,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            created_at=file.created_at,
            expires_at=file.expires_at,
            job_id=file.job,
        )
    )


async def get(tx: Tx, file: FileId, *, project: ProjectId) -> StoredFile:
    """A project's file. Raises NotFound, also for another project's."""
    row = await tx.row(select(files).where(files.c.id == file, files.c.project_id == project))
    if row is None:
        raise NotFound(f"no file {file}")
    return _file(row)


async def list_files(
    tx: Tx, page: Page, *, project: ProjectId, purpose: Purpose | None = None
) -> tuple[list[StoredFile], bool]:
    """A page of a project's files, and whether there are more. Raises NotFound."""
    where = () if purpose is None else (files.c.purpose == purpose.value,)
    found, more = await rows_of(tx, files, page, project=project, where=where)
    return [_file(row) for row in found], more


async def remove(tx: Tx, file: FileId, *, project: ProjectId) -> None:
    """Forget a file. Raises NotFound."""
    changed = await tx.change(
        delete(files).where(files.c.id == file, files.c.project_id == project)
    )
    if not changed:
        raise NotFound(f"no file {file}")


async def expired(tx: Tx, *, now: float, limit: int = 100) -> list[StoredFile]:
    """Files of every project whose time is over, the longest ago first."""
    rows = await tx.rows(
        select(files).where(files.c.expires_at <= now).order_by(files.c.expires_at).limit(limit)
    )
    return [_file(row) for row in rows]


async def ids(tx: Tx) -> set[str]:
    """Every file there is, of all projects: whose bytes may not be collected."""
    return {row["id"] for row in await tx.rows(select(files.c.id))}


async def insert_upload(tx: Tx, upload: Upload) -> None:
    """Record a new upload."""
    await tx.change(
        insert(uploads).values(
            id=upload.id,
            project_id=upload.project,
            state=upload.state.value,
            expires_at=upload.expires_at,
            upload=codec.text_of(upload),
        )
    )


async def get_upload(tx: Tx, upload: UploadId, *, project: ProjectId) -> Upload:
    """A project's upload. Raises NotFound, also for another project's."""
    row = await tx.row(
        select(uploads.c.upload).where(uploads.c.id == upload, uploads.c.project_id == project)
    )
    if row is None:
        raise NotFound(f"no upload {upload}")
    return codec.upload_of(row["upload"])


async def save_upload(tx: Tx, upload: Upload) -> None:
    """Record how far an upload has come. Raises NotFound."""
    changed = await tx.change(
        update(uploads)
        .where(uploads.c.id == upload.id)
        .values(state=upload.state.value, upload=codec.text_of(upload))
    )
    if not changed:
        raise NotFound(f"no upload {upload.id}")


async def stale_uploads(tx: Tx, *, now: float, limit: int = 100) -> list[Upload]:
    """Uploads that were begun and never ended, and whose time is over."""
    rows = await tx.rows(
        select(uploads.c.upload)
        .where(uploads.c.state == UploadState.PENDING.value, uploads.c.expires_at <= now)
        .limit(limit)
    )
    return [codec.upload_of(row["upload"]) for row in rows]


async def pending_uploads(tx: Tx) -> set[str]:
    """Uploads of every project that were begun and never ended: whose parts may not go."""
    query = select(uploads.c.id).where(uploads.c.state == UploadState.PENDING.value)
    return {row["id"] for row in await tx.rows(query)}


def _file(row: RowMapping) -> StoredFile:
    return StoredFile(
        id=FileId(row["id"]),
        project=ProjectId(row["project_id"]),
        name=row["name"],
        purpose=Purpose(row["purpose"]),
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        job=None if row["job_id"] is None else JobId(row["job_id"]),
    )
