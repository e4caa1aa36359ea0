"""The documents' programs in Python, unchanged, do what the documents say."""

import sys

import pytest

from tests.harness.documents import programs
from tests.long import examples
from tests.long.examples import CLAIMS, Place

OPENAI, AIOHTTP = programs("python")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, ".py", sys.executable)


@pytest.mark.parametrize("program", [OPENAI, AIOHTTP], ids=["openai", "aiohttp"])
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
async def test_each_program_of_the_documents_meets_each_claim(place, claim, program, openai):
    await claim(place, program, openai)


async def test_a_program_that_reads_events_does_not_trust_a_clean_end(place):
    await examples.does_not_take_a_clean_end_for_a_whole_answer(place, AIOHTTP)
