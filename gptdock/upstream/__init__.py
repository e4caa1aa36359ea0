"""OpenAI, or what stands in for it: calls to it, what came of them, its events."""
