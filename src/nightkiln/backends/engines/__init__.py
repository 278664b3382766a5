"""Models that run in our own process. Nothing heavy is imported before one is made."""
