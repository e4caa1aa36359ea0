"""Pure: the fields of `/v1/chat/completions`, see `fields`."""

from gptdock.routes.fields import Field, Table

FREE = Field("free")
SERVICE_TIER = Field("bounded", "the others cost more for each token", ("auto", "default", "flex"))
LIMIT = "by MAX_COMPLETION_TOKENS, and by what is left of the quota"
UNREPORTED = "it asks another model, whose tokens are not reported"

FIELDS: Table = {
    "model": Field("bounded", "one of `/v1/models`"),
    "messages": Field("counted", "images by URL as the most that they may cost; audio and files are refused"),
    "stream": FREE,
    "stream_options": Field("free", "the usage is always asked for; the caller sees it on request"),
    "max_completion_tokens": Field("bounded", LIMIT),
    "max_tokens": Field("bounded", "the older name of `max_completion_tokens`; only one of the two may be given"),
    "n": Field("bounded", "several answers cost several times as much", (1,)),
    "modalities": Field("bounded", "the tokens of speech cannot be counted", (["text"],)),
    "service_tier": SERVICE_TIER,
    "tools": Field("counted", "of the types `function` and `custom`"),
    "tool_choice": Field("counted"),
    "functions": Field("counted"),
    "function_call": Field("counted"),
    "response_format": Field("counted"),
    "prediction": Field("counted", "what is wrong in it is billed; the limit is sent as `max_tokens`"),
    "frequency_penalty": FREE,
    "logit_bias": FREE,
    "logprobs": FREE,
    "metadata": FREE,
    "parallel_tool_calls": FREE,
    "presence_penalty": FREE,
    "prompt_cache_key": FREE,
    "prompt_cache_options": FREE,
    "prompt_cache_retention": FREE,
    "reasoning_effort": FREE,
    "safety_identifier": Field("free", "the user on the receipt, if there is no `user`"),
    "seed": FREE,
    "stop": FREE,
    "store": FREE,
    "temperature": FREE,
    "top_logprobs": FREE,
    "top_p": FREE,
    "user": Field("free", "the user on the receipt"),
    "verbosity": FREE,
    "audio": Field("refused", "the tokens of speech cannot be counted"),
    "moderation": Field("refused", UNREPORTED),
    "web_search_options": Field("refused", "what is found becomes prompt, of a length that nobody knows before"),
}
