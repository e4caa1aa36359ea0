"""The file of `gptdock dev --data`: what it holds, and that it is never half."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from gptdock.dev.data_file import DataFile
from gptdock.dev.dynamodb import Tables, serve_dynamodb
from gptdock.errors import SettingsError
from gptdock.ledger.store import Store
from gptdock.settings import Settings
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import NOBODY, make_settings, running

REGION = "us-east-1"
ITEM = {"client_id": {"S": "c"}, "book": {"S": "account#p"}, "note": {"S": "x" * 1000}}


@contextmanager
def opened(folder: Path) -> Iterator[DataFile]:
    with closing(DataFile(folder / "q.json")) as file:
        yield file


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DataFile]:
    with opened(tmp_path) as file:
        yield file


@asynccontextmanager
async def kept_in(file: DataFile, tables: Tables, upstream: str = NOBODY) -> AsyncIterator[Settings]:
    async with serve_dynamodb(tables=tables, keep=lambda kept: file.keep(kept[REGION])) as url:
        settings = make_settings(url, upstream)
        async with Store.connected(settings) as store:
            await store.create_tables()
        file.fill(tables[REGION])
        yield settings


async def test_quotas_and_receipts_survive_a_restart(tmp_path: Path, openai):
    used = []
    for _ in range(2):
        with opened(tmp_path) as file:
            async with kept_in(file, Tables(), openai.url) as settings, running(settings, openai) as service:
                async with service.ask() as response:
                    assert response.status == 200
                used.append(await service.used())
                receipts = await service.receipts()

    assert used == [openai.journal[0].spent, sum(record.spent for record in openai.journal)]
    assert [receipt["tokens"] for receipt in receipts] == [record.spent for record in openai.journal]


async def test_a_change_is_kept_before_the_end(tmp_path: Path, file: DataFile):
    """As it must be if the process is killed."""
    tables, kept, loop = Tables(), asyncio.Event(), asyncio.get_running_loop()

    def keep(now: Tables) -> None:
        file.keep(now[REGION])
        if b'"note"' in (tmp_path / "q.json").read_bytes():
            loop.call_soon_threadsafe(kept.set)

    async with serve_dynamodb(tables=tables, keep=keep) as url, Store.connected(make_settings(url, NOBODY)) as store:
        await store.create_tables()
        file.fill(tables[REGION])
        await store._client.aiobotocore.put_item(TableName=store._quota, Item=ITEM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await kept.wait()


async def test_the_file_is_whole_at_every_moment(tmp_path: Path, file: DataFile):
    path, tables = tmp_path / "q.json", Tables()
    async with kept_in(file, tables):
        pass
    for number in range(200):
        tables[REGION].tables["gptdock_quota"].put_item(ITEM | {"client_id": {"S": f"c{number}"}})
    file.keep(tables[REGION])
    lengths = set()
    with ThreadPoolExecutor(max_workers=1) as writer:
        writing = [writer.submit(file.keep, tables[REGION]) for _ in range(5)]
        while not writing[-1].done():
            lengths.add(len(json.loads(path.read_bytes())["tables"]["gptdock_quota"]))

    assert lengths == {200}


async def test_a_disk_that_is_full_leaves_the_old_file(tmp_path: Path, file: DataFile, caplog):
    path, tables = tmp_path / "q.json", Tables()
    async with kept_in(file, tables):
        pass
    before = path.read_bytes()
    (tmp_path / ".q.json.new").symlink_to("/dev/full")

    with caplog.at_level(logging.ERROR):
        file.keep(tables[REGION])

    assert path.read_bytes() == before
    assert [record.message for record in caplog.records] == ["quotas not kept"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"tables": {"another": [{}]}}', b'{"tables": {"gptdock_quota": [1]}}']
)
async def test_a_file_that_is_not_ours_is_refused_and_stays(tmp_path: Path, file: DataFile, content: bytes):
    (tmp_path / "q.json").write_bytes(content)
    tables = Tables()
    async with serve_dynamodb(tables=tables) as url, Store.connected(make_settings(url, NOBODY)) as store:
        await store.create_tables()

    with pytest.raises(SettingsError, match="is not a file of these tables"):
        file.fill(tables[REGION])
    file.keep(tables[REGION])  # as at the end of each process

    assert (tmp_path / "q.json").read_bytes() == content


def test_a_folder_that_does_not_exist_is_told_at_the_start(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot be written: No such file or directory"):
        DataFile(tmp_path / "nowhere/q.json").fill(Tables()[REGION])


def test_a_file_belongs_to_one_process_until_that_ends(tmp_path: Path):
    with opened(tmp_path) as first:
        first.fill(Tables()[REGION])
        with opened(tmp_path) as second, pytest.raises(SettingsError, match="is in use by another gptdock dev"):
            second.fill(Tables()[REGION])

    with opened(tmp_path) as third:
        third.fill(Tables()[REGION])
