"""lease -> run -> commit: what a worker does, wherever it runs."""
