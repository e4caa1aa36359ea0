"""The commands of `gptdock` and their output."""
