"""OpenAI's API: files, uploads, batches, models. Parsed and written by `wire.openai`."""
