"""Operations on clients: show them, change their quotas, report their usage, audit their books."""
