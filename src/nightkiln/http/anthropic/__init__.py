"""Anthropic's API: batches of messages, and counting tokens."""
