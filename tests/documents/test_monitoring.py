"""The alerts and the dashboard use only metrics, labels and values that a process exports."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar, get_args

import aiohttp
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import AggregateExpr, Call, Expr, VectorSelector

from gptdock.errors import APIError, LedgerUnavailable, Unavailable
from gptdock.http.app import ROUTES
from gptdock.ledger.book import Source
from gptdock.settings import Settings
from tests.harness.documents import OPERATORS, ROOT, words_in_backticks
from tests.harness.processes import environment
from tests.harness.supervisord import PROGRAM, shipped
from tests.http.test_ops import free_port

DASHBOARD = json.loads((ROOT / "supervisor/grafana.json").read_text())
[GROUP] = yaml.safe_load((ROOT / "supervisor/alerts.yml").read_text())["groups"]
Kind = TypeVar("Kind", bound=Expr)
FROM_PROMETHEUS = {"job", "instance"}  # labels that Prometheus adds
FROM_GRAFANA = {"$__rate_interval": "5m", "$max_streams": "1000"}
OUTCOMES = {"ok", "refused", "cancelled", "complete", "caller_left", LedgerUnavailable.__name__}


class Query(NamedTuple):
    """A PromQL expression, and the text that shows labels of its result."""

    expr: str
    text: str


class Exported(NamedTuple):
    """The labels of each sample, and the possible values of some labels."""

    labels: dict[str, set[str]]
    values: dict[str, set[str]]


def panels() -> list[Query]:
    return [Query(each["expr"], each["legendFormat"]) for panel in DASHBOARD["panels"] for each in panel["targets"]]


def alerts() -> list[Query]:
    return [Query(rule["expr"], " ".join(rule["annotations"].values())) for rule in GROUP["rules"]]


def scrape() -> dict[str, Any]:
    """The scrape config in the guide for operators."""
    [block] = re.findall(r"^```yaml\n(.*?)^```", OPERATORS.text, re.MULTILINE | re.DOTALL)
    configs: list[dict[str, Any]] = yaml.safe_load(block)["scrape_configs"]
    return configs[0]


def codes(kind: type[APIError] = APIError) -> dict[str, int]:
    """The status of each error code."""
    below = [codes(each) for each in kind.__subclasses__()]
    ours: dict[str, int] = {kind.code: kind.status}
    return {code: status for each in (ours, *below) for code, status in each.items()}


@pytest.fixture
async def exported(serve) -> Exported:
    """The metrics of a service that answered a stream and a whole question, and refused one."""
    port = free_port()
    async with serve(ops_port=port) as service:
        for fields in ({"stream": True}, {}, {"question": ""}):
            async with service.ask(**fields) as response:
                await response.read()
        await service.ledger.settled()
        async with aiohttp.request("GET", f"http://127.0.0.1:{port}/metrics") as response:
            families = list(text_string_to_metric_families(await response.text()))
        routes = {resource.canonical for resource in service.app.router.resources()}
    labels: dict[str, set[str]] = {}
    for sample in (sample for family in families for sample in family.samples):
        labels.setdefault(sample.name, set(FROM_PROMETHEUS)).update(sample.labels)
    labels |= {"up": FROM_PROMETHEUS, "gptdock_client_quota_percent": {"client", "product"}}
    return Exported(
        labels,
        {
            "outcome": OUTCOMES | set(codes()),
            "route": routes,
            "job": {scrape()["job_name"]},
            "source": set(get_args(Source)),
        },
    )


def found(expr: Expr, kind: type[Kind]) -> list[Kind]:
    nodes: list[Kind] = []
    promql_parser.walk(expr, lambda node: nodes.append(node) if isinstance(node, kind) else None)
    return nodes


def parsed(query: Query) -> Expr:
    """The expression as Grafana sends it. Raises ValueError if it is not PromQL."""
    text = query.expr
    for variable, value in FROM_GRAFANA.items():
        text = text.replace(variable, value)
    return promql_parser.parse(text)


def mistakes(query: Query, exported: Exported) -> list[str]:
    """The names and values in this query that are not exported, and wrong uses of histograms."""
    expr = parsed(query)
    return [*_in_selectors(expr, exported), *_in_groups(expr, query.text, exported), *_in_quantiles(expr)]


def _in_selectors(expr: Expr, exported: Exported) -> Iterator[str]:
    for selector in found(expr, VectorSelector):
        if selector.name not in exported.labels:
            yield f"no metric {selector.name}"
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in exported.labels[selector.name]:
                yield f"no label {matcher.name} on {selector.name}"
            for value in set(matcher.value.split("|")) - exported.values.get(matcher.name, set()):
                yield f"no {matcher.name} {value}"


def _in_groups(expr: Expr, text: str, exported: Exported) -> Iterator[str]:
    shown = set(re.findall(r"{{ *(?:\$labels\.)?(\w+) *}}", text))
    for aggregate in found(expr, AggregateExpr):
        labels = set(aggregate.modifier.labels if aggregate.modifier else ())
        for selector in found(aggregate, VectorSelector):
            for label in labels - exported.labels.get(selector.name or "", labels):
                yield f"no label {label} on {selector.name}"
        shown -= labels
    yield from (f"{label} is shown, but not grouped by" for label in shown)


def _in_quantiles(expr: Expr) -> Iterator[str]:
    names = {each.name or "" for each in found(expr, VectorSelector)}
    quantiles = [call for call in found(expr, Call) if call.func.name == "histogram_quantile"]
    of_quantiles = {each.name or "" for call in quantiles for each in found(call, VectorSelector)}
    for name in names:
        if name.endswith("_bucket") != (name in of_quantiles):
            yield f"{name}: histogram_quantile is for buckets, and buckets for it"
    for call in quantiles:
        if not any("le" in each.modifier.labels for each in found(call, AggregateExpr) if each.modifier):
            yield "a quantile needs its buckets grouped by le"


async def test_every_query_asks_for_what_is_exported(exported: Exported):
    wrong = {query.expr: mistakes(query, exported) for query in panels() + alerts()}

    assert len(wrong) > 25
    assert {expr: each for expr, each in wrong.items() if each} == {}


async def test_a_query_for_what_is_not_exported_is_found(exported: Exported):
    right = Query('sum by (route) (rate(gptdock_requests_total{outcome="complete"}[5m]))', "{{route}}")
    lag = "histogram_quantile(0.99, sum by (le) (rate(gptdock_loop_lag_seconds_bucket[5m])))"
    slips = [
        right._replace(expr=right.expr.replace("requests", "request")),
        right._replace(expr=right.expr.replace("outcome", "outcom")),
        right._replace(expr=right.expr.replace('"complete"', '"completed"')),
        right._replace(expr=right.expr.replace("(route)", "(routes, route)")),
        right._replace(text="{{outcome}}"),
        Query(lag.replace("_bucket", "_sum"), ""),
        Query(lag.replace("sum by (le) ", ""), ""),
        Query("sum(rate(gptdock_loop_lag_seconds_bucket[5m]))", ""),
    ]

    assert mistakes(right, exported) == mistakes(Query(lag, ""), exported) == []
    assert [slip for slip in slips if not mistakes(slip, exported)] == []


def test_metrics_that_other_programs_export_too_are_limited_to_this_job():
    shared = [
        (selector.name, [str(each.value) for each in selector.matchers.matchers if each.name == "job"])
        for query in panels() + alerts()
        for selector in found(parsed(query), VectorSelector)
        if not (selector.name or "").startswith("gptdock_")
    ]

    assert {name for name, _ in shared} > {
        "process_cpu_seconds_total",
        "gen_ai_client_inference_usage_input_tokens_total",
    }
    assert [name for name, jobs in shared if jobs != [scrape()["job_name"]]] == []


def test_every_metric_of_ours_is_on_the_dashboard():
    text = " ".join(query.expr for query in panels())

    names = [words_in_backticks(row[0])[0] for row in OPERATORS.table("### Metrics")]
    assert [name for name in names if name not in text] == []


def test_failures_of_openai_are_compared_with_the_requests_that_it_saw():
    """Requests that were refused before OpenAI was asked do not count; there may be many."""
    [query] = [each for each in alerts() if each.text.startswith("OpenAI fails")]

    failed, reached = (set(outcomes.split("|")) for outcomes in re.findall(r'outcome=~"([^"]*)"', query.expr))
    assert reached == failed | {"complete"}
    [routes] = re.findall(r'route=~"([^"]*)"', query.expr)
    assert set(routes.split("|")) == {each.path for each in ROUTES if each.method == "POST"}


def test_failures_of_a_call_are_compared_with_calls_of_its_operation():
    """If only the writes of receipts fail, they are few among all calls."""
    [query] = [each for each in alerts() if each.text.startswith("Quotas cannot")]

    groups = [set(each.modifier.labels) for each in found(parsed(query), AggregateExpr) if each.modifier]
    assert groups.count({"instance", "operation"}) == 2


def test_every_5xx_is_in_the_panel_of_refusals():
    [query] = [each for each in panels() if each.text.startswith("5xx")]

    [outcomes] = re.findall(r'outcome=~"([^"]*)"', query.expr)
    assert set(outcomes.split("|")) == {code for code, status in codes().items() if status >= 500} - {Unavailable.code}


def test_every_panel_has_a_title_a_unit_and_a_place_of_its_own():
    shown = DASHBOARD["panels"]

    assert len({each["title"] for each in shown}) == len({each["id"] for each in shown}) == len(shown)
    assert len({(each["gridPos"]["x"], each["gridPos"]["y"]) for each in shown}) == len(shown)
    assert all(each["fieldConfig"]["defaults"]["unit"] for each in shown)


def test_every_alert_waits_and_says_what_it_means_and_what_to_do():
    for rule in GROUP["rules"]:
        assert promql_parser.parse_duration(rule["for"])
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert len(rule["annotations"]["summary"]) < len(rule["annotations"]["description"])


def test_the_dashboard_has_the_default_of_max_streams():
    shown = {each["name"]: each["query"] for each in DASHBOARD["templating"]["list"]}

    assert shown["max_streams"] == str(Settings.from_env(environment()).max_streams)


def test_prometheus_finds_every_process_of_the_shipped_configuration():
    program = shipped()[PROGRAM]
    [first] = re.findall(r'OPS_PORT="(\d+)%\(process_num\)02d"', program["environment"])  # up to 100 processes

    expected = [f"127.0.0.1:{first}{number:02}" for number in range(int(program["numprocs"]))]
    assert [target for each in scrape()["static_configs"] for target in each["targets"]] == expected
