"""The hands: open chunks, lanes of slots to backends, and what became of each row."""
