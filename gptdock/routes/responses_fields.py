"""Pure: the fields of `/v1/responses`, see `fields`."""

from gptdock.routes.chat_fields import FREE, LIMIT, SERVICE_TIER, UNREPORTED
from gptdock.routes.fields import Field, Table

STORED = "OpenAI adds what it stored to the prompt, of a length that nobody knows here"
READ = (
    "images by URL as the most that they may cost, what is encrypted by its bytes, "
    "reasoning by its `id` alone as MAX_COMPLETION_TOKENS"
)
LATER = "the answer would come after the request, when nobody meters it"

FIELDS: Table = {
    "model": Field("bounded", "one of `/v1/models`"),
    "input": Field("counted", READ),
    "instructions": Field("counted"),
    "max_output_tokens": Field("bounded", LIMIT),
    "stream": FREE,
    "stream_options": FREE,
    "tools": Field("counted", "of the types `function` and `custom`"),
    "tool_choice": Field("counted"),
    "text": Field("counted"),
    "reasoning": Field("bounded", "by the limit of the answer; `mode` may be `standard` only"),
    "service_tier": SERVICE_TIER,
    "background": Field("bounded", LATER, (False,)),
    "include": FREE,
    "max_tool_calls": FREE,
    "metadata": FREE,
    "parallel_tool_calls": FREE,
    "prompt_cache_key": FREE,
    "prompt_cache_options": FREE,
    "prompt_cache_retention": FREE,
    "safety_identifier": FREE,
    "store": FREE,
    "temperature": FREE,
    "top_logprobs": FREE,
    "top_p": FREE,
    "truncation": FREE,
    "user": Field("free", "the user on the receipt"),
    "previous_response_id": Field("refused", STORED),
    "conversation": Field("refused", STORED),
    "prompt": Field("refused", STORED),
    "background_options": Field("refused", LATER),
    "context_management": Field("refused", "a summary of the prompt is generated besides the answer"),
    "image": Field("refused", "the tokens of images cannot be counted"),
    "moderation": Field("refused", UNREPORTED),
    "access_programs": Field("refused", "it uses what was granted to your organization alone"),
}
