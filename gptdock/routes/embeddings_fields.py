"""Pure: the fields of `/v1/embeddings`, see `fields`."""

from gptdock.routes.chat_fields import FREE
from gptdock.routes.fields import Field, Table

FIELDS: Table = {
    "model": Field("bounded", "one of OPENAI_EMBEDDING_MODELS"),
    "input": Field("counted", "a text, texts, token ids or lists of token ids"),
    "dimensions": FREE,
    "encoding_format": FREE,
    "user": Field("free", "the user on the receipt"),
}
