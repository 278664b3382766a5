"""The control plane in SQL: jobs, chunks, generations and the ledger. Nothing here is per row."""
