"""OpenAI's own types as a judge: a value must have no field that they do not know, nor one of another type."""

from typing import Any, get_args

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

_KINDS = get_args(get_args(ResponseStreamEvent)[0])
_EVENTS = {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in _KINDS}


LACKING = {"store"}  # fields that the API has and its types lack


def check_event(value: dict[str, Any]) -> None:
    """Fails unless `value` is an event of the Responses API."""
    check(_EVENTS[value["type"]], value)


def check_response(value: dict[str, Any]) -> None:
    """Fails unless `value` is a whole response."""
    check(Response, value)


def check(kind: type[BaseModel], value: dict[str, Any]) -> None:
    """Fails unless `value` is of this type."""
    fields = unknown(kind.model_validate(value)).keys() - LACKING
    assert fields == set(), fields


def unknown(value: Any) -> dict[str, Any]:
    """The fields in `value`, at any depth, that its types do not know."""
    if isinstance(value, list):
        return {name: each for item in value for name, each in unknown(item).items()}
    if not isinstance(value, BaseModel):
        return {}
    found = dict(value.model_extra or {})
    for name in type(value).model_fields:
        found |= unknown(getattr(value, name))
    return found
