"""Pages of a project's things by age, from a thing on: keys of the last row, never offsets.

A page costs what it holds, however many came before it, and a thing that is made
or deleted meanwhile neither repeats nor hides another.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Table, and_, or_, select

from nightkiln.core.errors import NotFound
from nightkiln.core.ids import ProjectId
from nightkiln.store.tx import Tx


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which piece of a list is wanted."""

    limit: int
    after: str | None = None  # an id: what comes after it in the list
    before: str | None = None  # an id: what comes right before it; the order stays
    oldest_first: bool = False


async def rows_of(
    tx: Tx,
    table: Table,
    page: Page,
    *,
    project: ProjectId | None,
    where: Sequence[ColumnElement[bool]],
) -> tuple[list[RowMapping], bool]:
    """The rows of a page, and whether there are more in the direction it was turned.

    The table has `id`, `project_id` and `created_at`; without a project it is all of
    theirs. Raises NotFound when the thing the page begins at is not there.
    """
    columns = table.c
    backwards = page.before is not None
    ascending = page.oldest_first != backwards
    mine = () if project is None else (columns.project_id == project,)
    query = select(table).where(*mine, *where)
    if (mark := page.before or page.after) is not None:
        at = await tx.row(select(columns.created_at).where(columns.id == mark, *mine))
        if at is None:
            raise NotFound(f"no page begins at {mark}: it is not among the {table.name}")
        query = query.where(_beyond(columns, at["created_at"], mark, ascending=ascending))
    order = (
        (columns.created_at, columns.id)
        if ascending
        else (columns.created_at.desc(), columns.id.desc())
    )
    found = await tx.rows(query.order_by(*order).limit(page.limit + 1))
    piece, more = found[: page.limit], len(found) > page.limit
    return (piece[::-1] if backwards else piece), more


def _beyond(columns: Any, created_at: float, mark: str, *, ascending: bool) -> ColumnElement[bool]:
    if ascending:
        further, same = columns.created_at > created_at, columns.id > mark
    else:
        further, same = columns.created_at < created_at, columns.id < mark
    return or_(further, and_(columns.created_at == created_at, same))
