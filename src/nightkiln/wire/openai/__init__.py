"""OpenAI's files, uploads and batches as they are served: objects, checks and rules. Pure."""
