"""Pure: the most tokens that an image in a prompt may cost; its size is known only to the upstream.

By model and `detail`, from OpenAI's guide (https://platform.openai.com/docs/guides/images-vision). The name of a model
may include its date, a tuning (ft:gpt-4o-mini-2024-07-18:acme::x), or its maker (openai/gpt-4o).
"""

import re

TILED_BY_4O_MINI = 48_169  # 2833, and 5667 for each of up to 8 tiles
SHRUNK = 3_779  # 1536 patches x 2.46; the other models' tiles stay below that, and so do the 2500 patches of the newest
LOW_BY_4O_MINI = 2_833  # without tiles
LOW = 85  # without tiles, at most; models that count patches do not promise less for `low`
ORIGINAL = 10_000  # patches, to which gpt-5.4 and gpt-5.5 shrink an image unless `detail` says less
UNLIMITED = 30_000  # patches; later models do not shrink an image, and unknown ones may not either

_SHRINKS = re.compile(r"\b((chat)?gpt-4|gpt-5(?![.\d])|gpt-5\.[123]\b|o[134]\b|computer-use)")
_TILES = re.compile(
    r"\b((chat)?gpt-4o|gpt-4-|gpt-4\.[15](?!-(mini|nano))|gpt-5(?![.\d]|-(mini|nano))|o[13]\b|computer-use)"
)
_SHRINKS_LESS = re.compile(r"\bgpt-5\.[45]\b")


def most_tokens(model: str, detail: object) -> int:
    """The most tokens that one image costs with `model`; `detail` is what the caller gave, or None."""
    is_low = detail == "low"
    if "gpt-4o-mini" in model:
        return LOW_BY_4O_MINI if is_low else TILED_BY_4O_MINI
    if is_low and _TILES.search(model):
        return LOW
    if detail in ("low", "high") or _SHRINKS.search(model):
        return SHRUNK
    return ORIGINAL if _SHRINKS_LESS.search(model) else UNLIMITED
