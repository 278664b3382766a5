"""Our own API: jobs, rows, events, files, keys, usage. Errors as RFC 9457 writes them."""
