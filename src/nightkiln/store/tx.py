"""What a use case holds while it runs: one transaction, and three ways to speak SQL in it.

A thin cover over SQLAlchemy's connection, so that nobody outside `store` needs
to know SQLAlchemy. It never commits and never rolls back: its owner does.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import Executable

Values = Mapping[str, object]


class Tx:
    """A running transaction. Worth nothing after the use case it was given to returns."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, statement: Executable, values: Values | None = None) -> list[RowMapping]:
        """Everything a query gives, by column name."""
        result = await self._connection.execute(statement, values)
        return list(result.mappings())

    async def row(self, statement: Executable, values: Values | None = None) -> RowMapping | None:
        """The first row of a query, or None."""
        result = await self._connection.execute(statement, values)
        return result.mappings().first()

    async def change(
        self, statement: Executable, values: Values | Sequence[Values] | None = None
    ) -> int:
        """Insert, update or delete; how many rows that touched (of one statement)."""
        result = await self._connection.execute(statement, values)
        return result.rowcount
