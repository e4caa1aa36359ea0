"""Both tables are restored as the guide for operators says."""

from gptdock.ledger.store import Store
from tests.cli.test_admin import ACCOUNT, RECEIPT, charge
from tests.harness.processes import environment


async def back_up(store: Store) -> dict[str, str]:
    """The address of a backup for each table."""
    aws = store._client.aiobotocore
    made = {name: await aws.create_backup(TableName=table, BackupName=name) for name, table in store.tables.items()}
    return {name: each["BackupDetails"]["BackupArn"] for name, each in made.items()}


async def test_restored_tables_balance_and_have_what_was_there(gptdock, dynamodb: str, store: Store):
    await charge(store, RECEIPT)
    backups = await back_up(store)
    await gptdock(environment(dynamodb), "client", "reset", "1234", "demo", "--yes")
    await gptdock(environment(dynamodb), "client", "set-quota", "5678", "demo", "1")
    env = environment(dynamodb, DYNAMODB_TABLE_PREFIX="restored_")

    aws = store._client.aiobotocore
    for name, backup in backups.items():
        await aws.restore_table_from_backup(TargetTableName=f"restored_{name}", BackupArn=backup)
    tables, audit = await gptdock(env, "tables"), await gptdock(env, "audit", "--only-drift")
    usage = await gptdock(env, "usage", *ACCOUNT, "--by", "user")

    assert (tables.code, audit.code, audit.out.splitlines()[1:]) == (0, 0, ["1 book, all balance"])
    assert usage.out.splitlines()[-1] == f"{RECEIPT.tokens} tokens in all"
    expiry = await aws.describe_time_to_live(TableName="restored_usage")
    assert expiry["TimeToLiveDescription"]["AttributeName"] == "expires_at"
    protected = await aws.describe_table(TableName="restored_quota")
    assert protected["Table"]["DeletionProtectionEnabled"]
