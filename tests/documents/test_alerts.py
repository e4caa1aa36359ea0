"""Each alert fires when it must, and is quiet when it must: Prometheus's own promtool evaluates the shipped rules."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.documents import OPERATORS, ROOT

RULES = ROOT / "supervisor/alerts.yml"
MISSING = "promtool is missing: `make .venv/bin/promtool` fetches Debian's, or install the package prometheus"
UP = {'up{job="gptdock",instance="a"}': "1x80", 'up{job="gptdock",instance="b"}': "1x80"}
REQUESTS = 'gptdock_requests_total{{job="gptdock",instance="a",route="/v1/ask",outcome="{}"}}'
BUSY = UP | {REQUESTS.format("complete"): "0+30x80"}
LOST = 'gptdock_tokens_charged_total{job="gptdock",instance="a",source="lost"}'
STARTED = 'process_start_time_seconds{job="gptdock",instance="a"}'
CALLS = 'gptdock_dynamodb_seconds_count{{job="gptdock",instance="a",operation="update_item",outcome="{}"}}'
ONE_FAILED = {CALLS.format("LedgerUnavailable"): "0x20 1x60", CALLS.format("ok"): "0+99x80"}
NEAR = 'gptdock_client_quota_percent{client="1234",product="demo"}'

# What happens, with the series that tell it (one sample each 15 s), and the minute at which just these alerts fire.
CASES: list[tuple[str, dict[str, str], str, set[str]]] = [
    ("all is well", BUSY | {LOST: "5x80", STARTED: "100x80"}, "15m", set()),
    ("nothing is asked at night", UP, "15m", set()),
    (
        "an upgrade restarts one process",
        BUSY | {'up{job="gptdock",instance="b"}': "1x20 0x5 1x55"},
        "6m",
        set(),
    ),
    ("one process is down", BUSY | {'up{job="gptdock",instance="b"}': "1x20 0x60"}, "8m", {"GPTDockDown"}),
    ("both are down", dict.fromkeys(UP, "1x20 0x60"), "8m", {"GPTDockDown"}),
    ("nothing is scraped", {'up{job="other",instance="c"}': "1x80"}, "3m", {"GPTDockDown"}),
    (
        "every request is a 500",
        UP | {REQUESTS.format("internal_error"): "0x10 1+1x70"},
        "8m",
        {"GPTDockInternalErrors"},
    ),
    ("one request in a thousand is a 500", BUSY | {REQUESTS.format("internal_error"): "0x20 1x60"}, "8m", set()),
    ("a process died, and another charged it", BUSY | {LOST: "0x20 900x60"}, "8m", {"GPTDockCrashing"}),
    ("that was long ago", BUSY | {LOST: "0x8 900x72"}, "19m", set()),
    ("a process dies again and again", BUSY | {STARTED: "1x10 2x10 3x10 4x50"}, "12m", {"GPTDockCrashing"}),
    ("two upgrades", BUSY | {STARTED: "1x20 2x20 3x40"}, "15m", set()),
    (
        "DynamoDB fails",
        BUSY | {CALLS.format("ok"): "0+10x80", CALLS.format("LedgerUnavailable"): "0x20 0+5x60"},
        "9m",
        {"GPTDockCannotSettle"},
    ),
    ("DynamoDB failed one call", BUSY | ONE_FAILED, "9m", set()),
    (
        "OpenAI fails",
        BUSY | {REQUESTS.format("upstream_error"): "0x10 0+30x70"},
        "12m",
        {"GPTDockUpstreamFails"},
    ),
    ("MAX_STREAMS is reached", BUSY | {REQUESTS.format("overloaded"): "0+5x80"}, "10m", {"GPTDockTurnsCallersAway"}),
    ("a client is near its limit", BUSY | {NEAR: "95x80"}, "16m", {"GPTDockQuotaNearlySpent"}),
    ("a client has used 80 %", BUSY | {NEAR: "80x80"}, "16m", set()),
]

# When the faults of these cases begin, in seconds, for the table in the guide for operators.
BEGIN = {
    "one process is down": 315,
    "both are down": 315,
    "nothing is scraped": 0,
    "every request is a 500": 165,
    "a process died, and another charged it": 315,
    "a process dies again and again": 510,  # for the third time
    "DynamoDB fails": 315,
    "OpenAI fails": 165,
    "MAX_STREAMS is reached": 15,
    "a client is near its limit": 0,
}


def unit_test(name: str, series: dict[str, str], at: str, firing: set[str]) -> dict[str, object]:
    """The case as promtool reads it."""
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(firing)]
    expr = 'group by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "name": name,
        "interval": "15s",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": at, "exp_samples": samples}],
    }


def run(tests: list[dict[str, object]], folder: Path, rules: Path = RULES) -> tuple[int, str]:
    """The exit code of promtool, and what it says."""
    promtool = shutil.which(Path(sys.executable).parent / "promtool") or shutil.which("promtool")
    assert promtool, MISSING
    cases = {"rule_files": [str(rules)], "evaluation_interval": "15s", "tests": tests}
    (folder / "cases.yml").write_text(json.dumps(cases))
    finished = subprocess.run([promtool, "test", "rules", "cases.yml"], cwd=folder, capture_output=True, text=True)
    return finished.returncode, finished.stdout + finished.stderr


def test_each_alert_fires_when_it_must_and_is_quiet_when_it_must(tmp_path):
    code, said = run([unit_test(*case) for case in CASES], tmp_path)

    assert code == 0, said
    fired = set[str]().union(*(firing for *_, firing in CASES))
    assert all(f"- alert: {name}\n" in RULES.read_text() for name in fired)
    assert RULES.read_text().count("- alert: ") == len(fired)


def test_each_fault_is_told_as_soon_as_the_guide_says(tmp_path):
    cases = {name: (series, firing) for name, series, _, firing in CASES}
    told = {fault: (alert.strip("`"), after) for fault, alert, after in OPERATORS.table("How soon")}
    tests = []
    for fault, (alert, after) in told.items():
        series, firing = cases[fault]
        minutes, seconds = map(int, after.split(":"))
        at = BEGIN[fault] + 60 * minutes + seconds
        assert firing == {alert}
        tests += [
            unit_test(fault, series, f"{at}s", firing),
            unit_test(f"{fault}, too soon", series, f"{at - 15}s", set()),
        ]

    code, said = run(tests, tmp_path)

    assert code == 0, said
    assert told.keys() == BEGIN.keys()


@pytest.mark.parametrize(
    ("right", "wrong", "found_by"),
    [
        (' or absent(up{job="gptdock"})', "", "nothing is scraped"),
        ('{outcome="internal_error"}[5m]', '{outcome="internal"}[5m]', "every request is a 500"),
        ('increase(gptdock_tokens_charged_total{source="lost"}[15m])', "gptdock_tokens_charged_total", "all is well"),
        ("> 2\n", "> 1\n", "two upgrades"),
        ("for: 2m", "for: 0m", "an upgrade restarts one process"),
    ],
)
def test_a_rule_that_is_wrong_is_found(right: str, wrong: str, found_by: str, tmp_path):
    text = RULES.read_text()
    (tmp_path / "alerts.yml").write_text(text.replace(right, wrong))

    code, said = run([unit_test(*case) for case in CASES if case[0] == found_by], tmp_path, tmp_path / "alerts.yml")

    assert right in text
    assert (code, "FAILED" in said) == (1, True)
