"""The nouns of nightkiln, pure: nothing here does I/O, reads a clock or throws dice."""
