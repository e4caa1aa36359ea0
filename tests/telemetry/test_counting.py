"""Our counters and histograms are exposed to the byte as prometheus_client's own."""

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from gptdock.telemetry import metrics
from gptdock.telemetry.counting import Counters, Histogram, Histograms

BOUNDS = (0.001, 0.25, 1, 2.5, 128)
AMOUNTS = st.sampled_from([0, *BOUNDS, 1e300]) | st.integers(0, 10**9) | st.floats(0, 1e9)
LABELS = st.tuples(st.sampled_from(["chat", 'a"\\\n', "é", ""]), st.sampled_from(["ok", "lost"]))
UPDATES = st.lists(st.tuples(LABELS, AMOUNTS))


@pytest.fixture(scope="module", autouse=True)
def no_time_of_creation():
    disable_created_metrics()
    yield
    prometheus_client.enable_created_metrics()


@given(UPDATES)
def test_counters_are_exposed_as_prometheus_client_s_own(updates):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    about = ("gptdock_things", "Things,\nof a kind.", ["kind", "a_source"])
    counters = Counters(*about, ours)
    own = prometheus_client.Counter(*about, registry=theirs)

    for labels, amount in updates:
        counters.labels(*labels).inc(amount)
        own.labels(*labels).inc(amount)

    assert generate_latest(ours) == generate_latest(theirs)


@given(UPDATES)
def test_histograms_are_exposed_as_prometheus_client_s_own(updates):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    about = ("gptdock_seconds", "How long.", ["kind", "a_source"])
    histograms = Histograms(*about, ours, bounds=BOUNDS)
    own = prometheus_client.Histogram(*about, registry=theirs, buckets=BOUNDS)

    for labels, amount in updates:
        histograms.labels(*labels).observe(amount)
        own.labels(*labels).observe(amount)

    assert generate_latest(ours) == generate_latest(theirs)


def test_a_metric_without_labels_is_exposed_as_prometheus_client_s_own():
    ours, theirs = CollectorRegistry(), CollectorRegistry()

    Counters("things", "Things.", (), ours).labels()
    Histograms("seconds", "How long.", (), ours, bounds=BOUNDS).labels().observe(1)
    prometheus_client.Counter("things", "Things.", registry=theirs)
    prometheus_client.Histogram("seconds", "How long.", registry=theirs, buckets=BOUNDS).observe(1)

    assert generate_latest(ours) == generate_latest(theirs)


def test_an_amount_at_a_bound_is_in_its_bucket_and_all_above():
    histogram = Histogram((1, 2))

    for amount in (1, 2, 3):
        histogram.observe(amount)

    assert (histogram.buckets, histogram.sum) == ([("1.0", 1), ("2.0", 2), ("+Inf", 3)], 6)


def test_a_counter_never_falls():
    counter = Counters("things", "Things.", (), CollectorRegistry()).labels()
    counter.inc(2)

    with pytest.raises(ValueError, match="only grows"):
        counter.inc(-1)

    assert counter.value == 2


@pytest.mark.parametrize("values", [(), ("a",), ("a", "b", "c")])
def test_a_label_too_few_or_too_many_is_refused(values):
    counters = Counters("things", "Things.", ["kind", "source"], CollectorRegistry())

    with pytest.raises(ValueError, match="kind, source"):
        counters.labels(*values)


def test_one_name_is_not_given_twice():
    registry = CollectorRegistry(auto_describe=True)
    Counters("things", "Things.", (), registry)

    with pytest.raises(ValueError, match="Duplicated"):
        Counters("things", "Things.", (), registry)


@pytest.mark.parametrize(
    "line",
    [
        'gptdock_tokens_charged_total{source="lost"}',  # Prometheus does not see an increase from nothing
        'gptdock_commit_requests_bucket{le="128.0"}',
        'gptdock_loop_lag_seconds_bucket{le="+Inf"}',
    ],
)
def test_what_has_no_choice_of_labels_is_exposed_from_the_start(line):
    assert f"\n{line} " in metrics.exposition().decode()


def test_no_time_of_creation_is_exposed():
    metrics.REQUESTS.labels("/v1/ask", "complete")

    assert "_created" not in metrics.exposition().decode()
