"""What alembic runs: the revisions on the connection we hand in, in its transaction.

The caller has begun the transaction and commits it, so the tables and the
revision number change together or not at all.
"""

from alembic import context

from nightkiln.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
