"""Pure: what an image in a prompt may cost at most, in tokens: how large it is only the upstream sees.

By model and `detail`, from OpenAI's guide (https://platform.openai.com/docs/guides/images-vision). A model has other
names, too: with its date, tuned (ft:gpt-4o-mini-2024-07-18:acme::x), with its maker's in front.
"""

import re

TILED_BY_4O_MINI = 48_169  # 2833, and 5667 for each of up to 8 tiles
SHRUNK = 3_779  # 1536 patches x 2.46; the other models' tiles stay below that, and so do the 2500 patches of the newest
ORIGINAL = 10_000  # patches, to which gpt-5.4 and gpt-5.5 shrink an image unless `detail` says less
UNLIMITED = 30_000  # patches; models after these do not shrink it, and what we do not know may not either

_SHRINKS = re.compile(r"\b((chat)?gpt-4|gpt-5(?![.\d])|gpt-5\.[123]\b|o[134]\b|computer-use)")
_SHRINKS_LESS = re.compile(r"\bgpt-5\.[45]\b")


def most_tokens(model: str, detail: object) -> int:
    """What one image costs with `model` at most; `detail` is as the caller gave it, or None."""
    if "gpt-4o-mini" in model:
        return TILED_BY_4O_MINI
    if detail in ("low", "high") or _SHRINKS.search(model):
        return SHRUNK
    return ORIGINAL if _SHRINKS_LESS.search(model) else UNLIMITED
