"""Pure: the `input` of `/v1/responses`: what the model reads of it. Anything whose cost has no bound is refused.

    message                                         text and images by URL, `type` may be missing
    function_call, custom_tool_call                 counted as JSON
    function_call_output, custom_tool_call_output   text and images by URL
    reasoning                                       its text, and what is encrypted by its bytes; by its id alone it is
                                                    read from the upstream's store: as long as an answer may be

Other items stand for something that is stored at the upstream, or are of tools that run there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gptdock.errors import InvalidRequest
from gptdock.routes.requests import to_json

MOST_ITEMS = 1000
_PARTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal", "input_image": "image_url"}
_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
KINDS = ("message", *_CALLS, *_OUTPUTS, "reasoning")


@dataclass(slots=True)
class Read:
    """What the model reads: texts, other fields as JSON, the detail of each image, and bytes of what is encrypted."""

    items: int = 0
    texts: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    encrypted_bytes: int = 0
    recalled: int = 0  # pieces of reasoning by their ids alone

    def read(self, value: object) -> None:
        """Read the input. Raises InvalidRequest, whose `param` names what is wrong."""
        if isinstance(value, str):
            value = [{"role": "user", "content": value}]
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_ITEMS:
            raise InvalidRequest(f"input must be a string or an array of 1 to {MOST_ITEMS} items.", param="input")
        self.items = len(value)
        for index, item in enumerate(value):
            self._item(item, f"input[{index}]")

    def _item(self, item: object, where: str) -> None:
        if not isinstance(item, dict):
            raise InvalidRequest(f"{where} must be an object.", param=where)
        kind = "message" if item.get("type") is None else item["type"]
        if kind not in KINDS:
            raise InvalidRequest(f"{where} must be an item of type {', '.join(KINDS)}.", param=where)
        others = dict(item)
        if kind == "message":
            self._check_message(item, where)
            self._parts(others.pop("content", None), f"{where}.content")
        elif kind in _OUTPUTS:
            self._parts(others.pop("output", None), f"{where}.output")
        elif kind == "reasoning":
            self._encrypted(others.pop("encrypted_content", None), f"{where}.encrypted_content")
            self.recalled += bool(item.get("id") is not None and not item.get("encrypted_content"))
        self._write(others)

    def _check_message(self, item: Mapping[str, Any], where: str) -> None:
        if not isinstance(item.get("role"), str):
            raise InvalidRequest(f"{where} must be an object with a role.", param=where)
        if item.get("content") is None:  # an `id` without a type may be read as a reference to what is stored
            raise InvalidRequest(f"{where}.content must be a string or an array.", param=f"{where}.content")

    def _encrypted(self, value: object, where: str) -> None:
        if not isinstance(value, str | None):
            raise InvalidRequest(f"{where} must be a string.", param=where)
        self.encrypted_bytes += len((value or "").encode("utf-8", "surrogatepass"))

    def _parts(self, content: object, where: str) -> None:
        if not isinstance(content, str | list | None):
            raise InvalidRequest(f"{where} must be a string or an array.", param=where)
        if isinstance(content, str):
            self.texts.append(content)
            return
        for index, part in enumerate(content or ()):
            self._part(part, f"{where}[{index}]")

    def _part(self, part: object, where: str) -> None:
        fields = part if isinstance(part, dict) else {}
        name = _PARTS.get(str(fields.get("type")))
        if name is None or not isinstance(fields.get(name), str):
            raise InvalidRequest(f"{where} must be a text, a refusal or an image by URL.", param=where)
        if name == "image_url":
            self._image(fields, where)
        else:
            self.texts.append(fields[name])
            self._write(fields, "type", name)

    def _image(self, part: Mapping[str, Any], where: str) -> None:
        if part.get("file_id") is not None:
            raise InvalidRequest(f"{where}.file_id is not supported: send the image by URL.", param=f"{where}.file_id")
        self.images.append(part.get("detail"))
        self._write(part, "type", "image_url", "detail", "file_id")

    def _write(self, fields: Mapping[str, Any], *known: str) -> None:
        if others := {name: value for name, value in fields.items() if name not in known}:
            self.others.append(to_json(others))
