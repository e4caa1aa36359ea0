"""Protects both tables against a mistake: they cannot be deleted, and can be restored to any second of 35 days."""

from gptdock.ledger.store import Store


async def protect(store: Store) -> None:
    """Turn on deletion protection and point-in-time recovery, where they are off. Raises LedgerUnavailable."""
    for name in store.tables.values():
        table = await store.call("describe_table", TableName=name)
        if not table["Table"].get("DeletionProtectionEnabled"):
            await store.call("update_table", TableName=name, DeletionProtectionEnabled=True)
        backups = await store.call("describe_continuous_backups", TableName=name)
        recovery = backups["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
            wanted = {"PointInTimeRecoveryEnabled": True}
            await store.call("update_continuous_backups", TableName=name, PointInTimeRecoverySpecification=wanted)
