"""Dialects, pure: bytes to nouns and back. Nothing here opens a socket or reads a clock."""
