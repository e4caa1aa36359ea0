"""Runs the tests that call DynamoDB against ministack, which is stricter than moto: `make conformance`.

The argument is the path of the `ministack` command.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PORT = "4577"
CASES = (
    "tests/ledger/test_items.py",
    "tests/ledger/test_store.py",
    "tests/admin/test_audit.py",
    "tests/admin/test_clients*.py",
    "tests/admin/test_forgetting*.py",
    "tests/ledger/test_holds.py",
    "tests/ledger/test_book_loop.py",
    "tests/ledger/test_outbox.py",
    "tests/ledger/test_sweeper.py",
    "tests/ledger/test_time.py",
)


def main(ministack: str) -> int:
    """Start ministack, run the tests on it, end it; returns pytest's exit code."""
    environ = dict(os.environ) | {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": PORT, "SERVICES": "dynamodb"}
    server = subprocess.Popen([ministack], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(("127.0.0.1", int(PORT)))
        environ["CONFORMANCE_ENDPOINT"] = f"http://127.0.0.1:{PORT}"
        files = [str(file) for pattern in CASES for file in sorted(ROOT.glob(pattern))]
        return subprocess.run([sys.executable, "-m", "pytest", *files], env=environ, check=False).returncode
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(address: tuple[str, int]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"nothing listens on {address}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
