"""Revisions of the package: one from git, and several beside each other under a supervisor."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Python imports this module by itself when it starts.
_SITECUSTOMIZE = """
with open({started!r}, "a") as file:
    file.write({name!r} + chr(10))
"""


class UnknownRevision(Exception):
    """git does not know it."""


def extracted(revision: str, folder: Path) -> Path:
    """The folder with the package as it was in a revision. Raises UnknownRevision."""
    command = ["git", "-C", str(ROOT), "archive", revision, "gptdock"]
    archive = subprocess.run(command, stdout=subprocess.PIPE)
    if archive.returncode:
        raise UnknownRevision(f"git knows no revision {revision}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(folder / "then", filter="data")
    return folder / "then"


class Versions:
    """Packages that `supervised` processes in this folder may start with, by name; each start is noted."""

    def __init__(self, folder: Path) -> None:
        self._chosen, self._started = folder / "version", folder / "started"
        self._folder = folder / "versions"
        self._folder.mkdir()

    def add(self, name: str, tree: Path) -> None:
        """Know the package in `tree` by this name."""
        version = self._folder / name
        version.mkdir()
        (version / "gptdock").symlink_to(tree / "gptdock")
        noting = _SITECUSTOMIZE.format(started=str(self._started), name=name)
        (version / "sitecustomize.py").write_text(noting)

    def choose(self, name: str) -> None:
        """Let processes start with this one from now on."""
        self._chosen.unlink(missing_ok=True)
        self._chosen.symlink_to(self._folder / name)

    def started(self) -> list[str]:
        """With which version each process started, in their order."""
        return self._started.read_text().splitlines() if self._started.exists() else []
