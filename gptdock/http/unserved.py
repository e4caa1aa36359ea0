"""Pure: what to use instead of a path that is not served, where that is one of OpenAI's, or its base URL is wrong.

What is told is only what is written here: no part of the path is repeated.
"""

import re

_SELF = "ask OpenAI itself, with a key of your own"
_KEEP = "use POST /v1/responses, and send the conversation with each request"
_NOT_KEPT = "answers are not kept here, only made, by POST /v1/chat/completions"
# https://platform.openai.com/docs/api-reference: the first part of each path, and what to use instead.
MENDS = {
    "chat": _NOT_KEPT,
    "completions": "use POST /v1/chat/completions, with messages in place of a prompt",
    "responses": "only POST /v1/responses is, since responses are not kept here",
    "conversations": _KEEP,
    "assistants": _KEEP,
    "threads": _KEEP,
    "chatkit": _KEEP,
    "engines": "use GET /v1/models",
    "models": "only GET /v1/models and GET /v1/models/{model} are",
    "embeddings": "only POST /v1/embeddings is",
    "moderations": f"{_SELF}: it costs nothing there",
    **dict.fromkeys(
        ["images", "audio", "videos", "realtime", "live"], f"{_SELF}: what it costs cannot be bounded in tokens"
    ),
    **dict.fromkeys(["files", "uploads", "batches", "fine_tuning", "fine-tunes", "vector_stores", "evals"], _SELF),
    **dict.fromkeys(["containers", "skills", "organization", "projects", "edits", "answers", "search"], _SELF),
    **dict.fromkeys(["agents", "decisions", "safety", "vaults", "content_provenance_checks"], _SELF),
    **dict.fromkeys(["webhook_endpoints", "webhook_event_types"], _SELF),
}
_PATH = re.compile("(?:/clients/[^/]+/[^/]+)?(?P<versions>(?:/v1)*)/(?P<first>[^/]+)")


def explain(path: str) -> str:
    """A sentence about a path without a route; empty if nothing is known of it."""
    if "//" in path or (path.endswith("/") and path != "/"):
        return "No such route: the path has a slash too many, as after a base URL that ends with one."
    found = _PATH.match(path)
    if not found or found["first"] not in MENDS:
        return ""
    if found["versions"] != "/v1":
        return "No such route: the base URL must end with /v1, once, as /v1 or /clients/1234/demo/v1 do."
    return f"OpenAI's /v1/{found['first']} is not served by GPTDock in this form: {MENDS[found['first']]}."
