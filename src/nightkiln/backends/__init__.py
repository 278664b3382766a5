"""Whatever answers requests: engines, endpoints, provider batches."""
