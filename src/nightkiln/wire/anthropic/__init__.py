"""Anthropic's dialect as we serve it: what its clients send, in chats, and chats in its words."""
