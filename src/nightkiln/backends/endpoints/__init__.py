"""HTTP APIs that answer while you wait."""
