"""What belongs to GPTDock as it serves: its package without `gptdock dev`, which simulates what is around it."""

from gptdock import __path__ as _paths

[_PACKAGE] = _paths


def is_our_module(name: str) -> bool:
    """Whether it is a module of it, by its name."""
    return f"{name}.".startswith("gptdock.") and not f"{name}.".startswith("gptdock.dev.")


def is_our_file(path: str) -> bool:
    """Whether it is a file of it, wherever the repository lies."""
    return path.startswith(f"{_PACKAGE}/") and not path.startswith(f"{_PACKAGE}/dev/")
