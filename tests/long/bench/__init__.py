"""What GPTDock costs beside a bare relay, on one machine: `make bench`, or `python -m tests.long.bench --help`."""
