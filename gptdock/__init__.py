"""GPTDock: token quotas between a BFF and OpenAI's chat completions."""
