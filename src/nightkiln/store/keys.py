"""API keys in SQL, by the hash of their text; and the projects they belong to."""

from sqlalchemy import RowMapping, case, insert, or_, select, update

from nightkiln.core.access import ApiKey, KeyId, Scope
from nightkiln.core.errors import NotFound
from nightkiln.core.ids import ProjectId
from nightkiln.store import codec
from nightkiln.store.paging import Page, rows_of
from nightkiln.store.schema import keys, projects
from nightkiln.store.tx import Tx


async def insert_key(tx: Tx, key: ApiKey) -> None:
    """Record a new key, and its project if that is new."""
    await ensure_project(tx, key.project, now=key.created_at)
    await tx.change(
        insert(keys).values(
            id=key.id,
            project_id=key.project,
            name=key.name,
            start=key.start,
            sha256=key.sha256,
            scope=key.scope.value,
            created_at=key.created_at,
            expires_at=key.expires_at,
            used_at=key.used_at,
            revoked_at=key.revoked_at,
            caps=codec.text_of(key.caps),
        )
    )


async def ensure_project(tx: Tx, project: ProjectId, *, now: float) -> None:
    """Record a project that is not known yet."""
    if await tx.row(select(projects.c.id).where(projects.c.id == project)) is None:
        await tx.change(insert(projects).values(id=project, created_at=now))


async def list_projects(tx: Tx) -> list[ProjectId]:
    """Every project, by name."""
    return [
        ProjectId(row["id"]) for row in await tx.rows(select(projects.c.id).order_by(projects.c.id))
    ]


async def by_sha256(tx: Tx, sha256: str) -> ApiKey | None:
    """The key whose text has this hash, good or not."""
    row = await tx.row(select(keys).where(keys.c.sha256 == sha256))
    return None if row is None else _key(row)


async def get(tx: Tx, key: KeyId) -> ApiKey:
    """A key of any project, held until the commit. Raises NotFound."""
    found = await find(tx, key)
    if found is None:
        raise _no_such(key)
    return found


async def find(tx: Tx, key: KeyId) -> ApiKey | None:
    """A key of any project, held until the commit; None where there is none."""
    row = await tx.row(select(keys).where(keys.c.id == key).with_for_update())
    return None if row is None else _key(row)


async def list_keys(tx: Tx, *, project: ProjectId | None = None) -> list[ApiKey]:
    """The keys of a project or of all, newest first, revoked ones too."""
    query = select(keys).order_by(keys.c.created_at.desc(), keys.c.id.desc())
    if project is not None:
        query = query.where(keys.c.project_id == project)
    return [_key(row) for row in await tx.rows(query)]


async def pages(tx: Tx, page: Page, *, project: ProjectId | None) -> tuple[list[ApiKey], bool]:
    """A page of the keys of a project or of all, and whether there are more. Raises NotFound."""
    found, more = await rows_of(tx, keys, page, project=project, where=())
    return [_key(row) for row in found], more


async def revoke(tx: Tx, key: KeyId, *, now: float) -> None:
    """End a key now; one that was ended before stays so. Raises NotFound."""
    await get(tx, key)
    await tx.change(
        update(keys).where(keys.c.id == key, keys.c.revoked_at.is_(None)).values(revoked_at=now)
    )


async def expire(tx: Tx, key: KeyId, *, at: float, now: float) -> bool:
    """Let a key be good until then at most; False, and nothing changes, where it is over."""
    until = case((keys.c.expires_at < at, keys.c.expires_at), else_=at)
    is_good = or_(keys.c.expires_at.is_(None), keys.c.expires_at > now)
    here = (keys.c.id == key, keys.c.revoked_at.is_(None), is_good)
    return await tx.change(update(keys).where(*here).values(expires_at=until)) > 0


async def used(tx: Tx, key: KeyId, *, now: float) -> None:
    """Record that a key was used. One that is gone is ignored."""
    await tx.change(update(keys).where(keys.c.id == key).values(used_at=now))


def _key(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=KeyId(row["id"]),
        project=ProjectId(row["project_id"]),
        name=row["name"],
        start=row["start"],
        sha256=row["sha256"],
        scope=Scope(row["scope"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
        caps=codec.caps_of(row["caps"]),
    )


def _no_such(key: KeyId) -> NotFound:
    return NotFound(f"no key {key}", hint="nightkiln keys list shows them")
