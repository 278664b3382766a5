"""Forward-only revisions of the schema, run by `store.migrate` and never by hand."""
