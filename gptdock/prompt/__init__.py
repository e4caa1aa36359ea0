"""Requests of callers: read from JSON, bounded in cost, and made into requests to the upstream.

A body is read strictly (`strict_json`) and checked field by field. Its cost gets an upper bound in tokens, because its
hold is taken before the upstream is asked: the tokens of the prompt (`tokens`), the most that its images may cost
(`images`), and the longest answer, which is sent upstream as a limit. A request whose cost cannot be bounded in advance
is refused with 400 and the name of its field. `/v1/ask` has a question and a history (`ask`); the requests of OpenAI's
clients are in `gptdock.routes`. All modules are pure except for `tokens`, which loads files and owns threads.
"""
