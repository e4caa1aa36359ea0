"""What `gptdock dev --data FILE` leaves when it is killed."""

import aiohttp

from gptdock.dev.data_file import DataFile
from gptdock.dev.dynamodb import Tables, serve_dynamodb
from gptdock.ledger.store import Store
from tests.harness.processes import dev
from tests.harness.service import NOBODY, make_settings

ADMIN = {"Authorization": "Bearer dev-admin-key"}
MANY = 500
AFTERWARDS = 10  # changes, some of which the file may lack


async def test_a_process_that_is_killed_leaves_all_but_its_last_changes(tmp_path):
    path = tmp_path / "q.json"
    async with dev(tmp_path, "--data", path.name) as running, aiohttp.ClientSession(headers=ADMIN) as session:

        async def create(number: int) -> None:
            query = {"client_id": f"c{number}", "product_id": "p"}
            url = f"{running.url}/v1/admin/client/quota"
            async with session.put(url, params=query, json={"max_quota": number}) as response:
                assert response.status == 200

        known = 0
        while f'"c{AFTERWARDS}"'.encode() not in path.read_bytes():
            await create(known)
            known += 1
            assert known < MANY, "the file is not written while there are changes"
        for _ in range(AFTERWARDS):
            await create(known)
            known += 1
        running.process.kill()
        await running.process.wait()

    tables, file = Tables(), DataFile(path)
    async with serve_dynamodb(tables=tables) as url:
        settings = make_settings(url, NOBODY)
        async with Store.connected(settings) as store:
            await store.create_tables()
            file.fill(tables[settings.aws_region])
            kept = {client.account.client_id: client.max_quota async for client in store.clients()}
            books = {account.client_id: book.max async for account, _, book in store.books()}
    file.close()

    assert AFTERWARDS < len(kept) <= known
    assert kept == books == {f"c{number}": number for number in range(len(kept))}  # nothing is missing between
