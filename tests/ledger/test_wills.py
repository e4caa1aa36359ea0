"""What a stream is charged if its process is killed, at any moment, for slow and fast models."""

from functools import partial

import pytest

from gptdock.ledger.holds import Ledger
from gptdock.ledger.rates import ENOUGH, MARGIN, UNKNOWN_AHEAD
from tests.harness.lone_stream import PROMPT_TOKENS, LoneStream

PROGRESS_SECONDS = 5
FIRST_EVENT_SECONDS = 0.5
speeds = pytest.mark.parametrize("speed", [20, 100, 700])


def _saw_answers(ledger: Ledger, *, speed: float, stream: bool = True) -> None:
    for _ in range(ENOUGH):
        ledger.rate("model", stream=stream).observe(round(60 * speed), 60)


def _known(speed: float, most: int = 10_000) -> LoneStream:
    return LoneStream(speed, most, learn=partial(_saw_answers, speed=speed))


@speeds
@pytest.mark.parametrize("is_known", [True, False])
def test_a_killed_stream_is_charged_at_every_moment_what_it_spent(speed: int, is_known: bool):
    stream = _known(speed) if is_known else LoneStream(speed, 10_000)

    assert [moment for moment in stream.watch(20) if moment.charged < moment.spent] == []


@pytest.mark.parametrize("speed", [20, 50])
def test_a_stream_faster_than_its_model_is_charged_what_it_spent_once_it_was_seen(speed: int):
    stream = LoneStream(10 * speed, 10_000, learn=partial(_saw_answers, speed=speed))

    moments = [moment for moment in stream.watch(20) if moment.seconds > PROGRESS_SECONDS]

    assert [moment for moment in moments if moment.charged < moment.spent] == []


@speeds
def test_a_stream_of_a_known_model_is_charged_for_the_time_to_its_renewal_at_most(speed: int):
    for moment in _known(speed).watch(20):
        assert moment.charged - moment.spent <= PROGRESS_SECONDS * speed * MARGIN


@speeds
def test_a_stream_of_an_unknown_model_killed_at_its_first_event_is_charged_little(speed: int):
    [*_, first] = LoneStream(speed, 10_000).watch(FIRST_EVENT_SECONDS)

    assert first.charged <= PROMPT_TOKENS + FIRST_EVENT_SECONDS * UNKNOWN_AHEAD


@speeds
def test_a_stream_of_an_unknown_model_is_charged_by_what_was_seen_of_it(speed: int):
    """From one second of text on; its will is renewed when it is twice as old, at PROGRESS_SECONDS at the latest."""
    for moment in LoneStream(speed, 10_000).watch(20):
        if moment.seconds >= 2:
            assert moment.charged - moment.spent <= 2 * PROGRESS_SECONDS * speed


def test_a_stream_of_a_known_model_takes_no_more_writes():
    """Than one for its hold, and one for each PROGRESS_SECONDS."""
    writes = {moment.seconds: moment.writes for moment in _known(100).watch(20)}

    assert [writes[seconds] for seconds in (0, 4.9375, 5, 9.9375, 10, 20)] == [1, 1, 2, 2, 3, 5]


def test_a_stream_of_an_unknown_model_takes_three_writes_more():
    writes = {moment.seconds: moment.writes for moment in LoneStream(100).watch(20)}

    assert [writes[seconds] for seconds in (0, 0.5, 1, 2, 4, 8, 13, 18, 20)] == [1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_a_will_allows_only_for_the_time_until_the_renewal_of_its_book():
    """Streams of one client are renewed together."""
    stream = _known(100)
    for moment in stream.watch(4.5):
        if moment.seconds == 4.5:
            stream.ask()
            assert stream.charged - moment.charged == PROMPT_TOKENS + 0.5 * 100 * MARGIN


def test_a_stream_of_an_unknown_model_has_its_book_renewed_sooner():
    stream, writes = _known(100), {}
    for moment in stream.watch(3):
        writes[moment.seconds] = moment.writes
        if moment.seconds == 1:
            stream.ledger._rates.clear()
            stream.ask()

    assert (writes[1], writes[1.5], writes[2]) == (1, 3, 4)


def test_streams_whose_will_is_not_due_are_not_counted():
    """Or a thousand streams would be counted each half second, as long as one model is unknown."""
    stream, counted = _known(100), {}
    for moment in stream.watch(6):
        counted[moment.seconds] = stream.counted[0], stream.counted[1]
        if moment.seconds == 1:
            stream.ledger._rates.clear()
            stream.ask()

    assert (counted[1], counted[4.9375], counted[5]) == ((0, 0), (0, 3), (1, 4))


def test_whole_answers_say_nothing_of_streams():
    learn = partial(_saw_answers, speed=20, stream=False)

    assert list(LoneStream(20, learn=learn).watch(1)) == list(LoneStream(20).watch(1))
