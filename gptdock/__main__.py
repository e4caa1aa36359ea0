"""The command line: `gptdock serve | dev | tables | audit | client | usage`, or `python -m gptdock`. Reads `.env`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path

from dotenv import dotenv_values

from gptdock.cli import admin, audits, commands, imports
from gptdock.cli import check as checks
from gptdock.errors import GPTDockError, LedgerUnavailable, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 on success, 1 on failure, 130 after Ctrl-C.

    Arguments that argparse rejects raise SystemExit(2).
    """
    parsed = _parser().parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for ids with characters that the terminal cannot show
    try:
        code: int = parsed.run(parsed, _environment())
        sys.stdout.flush()
        return code
    except LedgerUnavailable as exc:
        hint = "; run `gptdock tables`" if exc.fault == "ResourceNotFoundException" else ""
        sys.stderr.write(f"gptdock: DynamoDB cannot be used: {exc.fault or exc}{hint}\n")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python reports it again at exit
        return 1
    except (GPTDockError, OSError) as exc:
        sys.stderr.write(f"gptdock: {exc}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gptdock", description="Token quotas in front of OpenAI's chat completions.")
    parser.add_argument("--version", action="version", version=f"gptdock {version('gptdock')}")
    subparsers = parser.add_subparsers(dest="command", required=True)
    serve = subparsers.add_parser("serve", help="serve in production")
    serve.add_argument("--fd", type=int, help="serve this listening socket instead of HOST and PORT")
    serve.set_defaults(run=commands.run_serve)
    dev = subparsers.add_parser(
        "dev", help="serve with DynamoDB in memory and, without OPEN_AI_KEY, a simulated OpenAI"
    )
    dev.add_argument("--port", metavar="PORT", help="instead of the setting PORT")
    dev.add_argument("--data", metavar="FILE", type=Path, help="keep the tables of the DynamoDB in memory in this file")
    dev.set_defaults(run=commands.run_dev)
    tables = subparsers.add_parser("tables", help="create the tables that are missing in DynamoDB, and protect both")
    tables.add_argument("--no-protection", action="store_true", help="without deletion protection and recovery")
    tables.set_defaults(run=commands.run_tables)
    check = subparsers.add_parser("check", help="look whether a process could serve with these settings")
    check.set_defaults(run=checks.run)
    audit = subparsers.add_parser("audit", help="compare books with receipts; exits with 1 if one does not balance")
    audit.add_argument("--client", metavar="ID", type=admin.identity, help="audit only this client's books")
    audit.add_argument("--only-drift", action="store_true", help="print only books that do not balance")
    admin.add_forms(audit)
    audit.set_defaults(run=audits.run)
    admin.add_to(subparsers)
    imports.add_to(subparsers)
    return parser


def _environment() -> dict[str, str]:
    """The settings of `.env` in the working directory, overridden by the environment; empty values are left out."""
    merged: dict[str, str] = {}
    try:
        from_file = dotenv_values(Path(".env"))
    except UnicodeDecodeError as exc:
        raise SettingsError(".env must be UTF-8") from exc
    for source in (from_file, os.environ):
        merged |= {name: value for name, value in source.items() if value and value.strip()}
    return merged


if __name__ == "__main__":
    sys.exit(main())
