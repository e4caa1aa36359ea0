"""`make run` looks at Python before it installs, with stand-ins for Python and pip."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A Python that has this version, and whose venv has a copy of it and a pip that writes down what it was asked.
PYTHON = """#!/bin/sh
case "$1" in
-V) echo Python {version} ;;
-c) [ {minor} -ge 11 ] ;;
-m) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && printf '#!/bin/sh\\necho "$@" >> asked\\n' > "$3/bin/pip" &&
  printf '#!/bin/sh\\n' > "$3/bin/gptdock" && chmod +x "$3"/bin/* ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Makefile", "setup.cfg", "pyproject.toml", ".ci/venv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make_run(folder: Path, version: str, *, given: bool = False) -> tuple[int, str, str]:
    """Run `make run` where `python3` has this version, or with PYTHON=./python-<version>."""
    name = f"python-{version}" if given else "python3"
    (folder / name).write_text(PYTHON.format(version=version, minor=version.split(".")[1]))
    (folder / name).chmod(0o755)
    command = ["make", "run", *([f"PYTHON=./{name}"] if given else [])]
    done = subprocess.run(
        command, cwd=folder, env={"PATH": f"{folder}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


def test_a_python_that_is_too_old_is_told_in_one_line_and_leaves_nothing(folder: Path):
    code, out, err = make_run(folder, "3.10.2")

    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith("GPTDock needs Python 3.11 or newer; python3 is Python 3.10.2")
    assert not (folder / ".venv").exists()


def test_an_install_says_one_line_and_happens_once(folder: Path):
    first, second = make_run(folder, "3.11.7"), make_run(folder, "3.11.7")

    assert first == (0, "Installing into .venv, about 30 s...\n", "")
    assert second == (0, "", "")
    assert asked(folder) == ["install -qq --disable-pip-version-check -e .[dev]"]


@pytest.mark.parametrize("broken", ["too old", "gone"])
def test_a_venv_whose_python_cannot_be_used_is_made_anew(folder: Path, broken: str):
    make_run(folder, "3.11.7")
    if broken == "gone":
        (folder / ".venv/bin/python").unlink()
    else:
        (folder / ".venv/bin/python").write_text(PYTHON.format(version="3.10.2", minor=10))

    assert make_run(folder, "3.12.1")[0] == 0

    assert len(asked(folder)) == 2
    assert "Python 3.12.1" in (folder / ".venv/bin/python").read_text()


def test_a_venv_of_another_python_than_the_one_given_is_made_anew(folder: Path):
    make_run(folder, "3.11.7")

    make_run(folder, "3.13.0")  # the usual one is another now, but the .venv works
    assert len(asked(folder)) == 1
    make_run(folder, "3.13.0", given=True)
    assert len(asked(folder)) == 2
