"""OpenAI, or a compatible service: requests to it, what came of them, and its events."""
