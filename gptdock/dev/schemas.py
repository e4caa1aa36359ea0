"""A value that fits a JSON schema: the simulated OpenAI answers with it where a format or a tool asks for one.

It is the same value each time: of choices the first, of lists as few items as fit but one, texts that name their field.
A schema that contains itself ends at MOST_DEPTH with a null, an empty list or what is required.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MOST_DEPTH = 4  # of objects and lists within each other, before optional parts are left out
_HARD_DEPTH = 16  # a schema that still goes on here fits no value
_NESTING = ("object", "array")
_FORMATS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def value_for(schema: object) -> Any:
    """A value that fits `schema`. `pattern`, `not` and `if` are not obeyed; nothing fits a schema that never ends."""
    return _Maker(schema).value(schema, "value", 0, 0)


class _Maker:
    def __init__(self, root: object) -> None:
        self._root = root

    def value(self, schema: object, name: str, depth: int, index: int) -> Any:
        """The value of the field `name`, or the item `index` of the list of this name."""
        plain = self._plain(schema, depth)
        if "const" in plain:
            return plain["const"]
        if options := plain.get("enum"):
            return options[index % len(options)]
        kind = _kind(plain)
        if kind in _NESTING:
            return self._nesting[kind](self, plain, name, depth + 1) if depth < _HARD_DEPTH else None
        return _SIMPLE[kind](plain, name, index)

    def _plain(self, schema: object, depth: int) -> dict[str, Any]:
        """The schema without references and choices."""
        plain = dict(schema) if isinstance(schema, Mapping) else {}
        for _ in range(_HARD_DEPTH):
            if "$ref" in plain:
                plain = _merged(self._target(plain.pop("$ref")), plain)
            elif "allOf" in plain:
                for each in plain.pop("allOf"):
                    plain = _merged(plain, each)
            elif name := next((name for name in ("anyOf", "oneOf") if name in plain), None):
                plain = _merged(plain, self._chosen(plain.pop(name), depth))
            else:
                return plain
        return {"type": "null"}

    def _target(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            found = found.get(name.replace("~1", "/").replace("~0", "~"), {})
        return found if isinstance(found, Mapping) else {}

    def _chosen(self, options: list[Any], depth: int) -> Mapping[str, Any]:
        given = [option if isinstance(option, Mapping) else {} for option in options]
        kinds = [_kind(self._target(option["$ref"]) if "$ref" in option else option) for option in given]
        unwanted = _NESTING if depth >= MOST_DEPTH else ("null",)
        index = next((index for index, kind in enumerate(kinds) if kind not in unwanted), 0)
        return given[index] if given else {}

    def _object(self, schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        fields, required = schema.get("properties") or {}, schema.get("required") or ()
        names: Iterable[str] = required if depth > MOST_DEPTH else dict.fromkeys((*fields, *required))
        value = {each: self.value(fields.get(each, {}), each, depth, 0) for each in names}
        more = schema.get("additionalProperties")
        if not fields and isinstance(more, Mapping) and (depth <= MOST_DEPTH or schema.get("minProperties")):
            for index in range(len(value), schema.get("minProperties", 1)):
                value[f"{name} {index + 1}"] = self.value(more, name, depth, index)
        return value

    def _list(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        first = [self.value(each, name, depth, index) for index, each in enumerate(schema.get("prefixItems") or ())]
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        wanted = max(least, len(first)) if depth > MOST_DEPTH or schema.get("items") is False else max(least, 1)
        items = schema.get("items", {})
        return first + [self.value(items, name, depth, index) for index in range(len(first), min(wanted, most))]

    _nesting: Mapping[str, Callable[..., Any]] = {"object": _object, "array": _list}


def _merged(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, Any]:
    both = {**one, **two}
    if "properties" in one and "properties" in two:
        both["properties"] = {**one["properties"], **two["properties"]}
    if "required" in one and "required" in two:
        both["required"] = [*one["required"], *two["required"]]
    return both


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = next((kind for name, kind in _TOLD_BY.items() if name in schema), "string")
    return kind if kind in _SIMPLE or kind in _NESTING else "string"


def _string(schema: Mapping[str, Any], name: str, index: int) -> str:
    text = _FORMATS.get(schema.get("format", ""), f"simulated {name}")
    if index:
        text += f" {index + 1}"
    return text[: schema.get("maxLength")].ljust(schema.get("minLength", 0), ".")


def _number(schema: Mapping[str, Any], name: str, index: int) -> float:
    low, high = _bound(schema, "minimum", "exclusiveMinimum", max), _bound(schema, "maximum", "exclusiveMaximum", min)
    if low is not None and high is not None and "multipleOf" not in schema:
        return low + (high - low) * (index + 1) / (index + 2)
    return _multiple(schema, schema.get("multipleOf", 0.5), index)


def _integer(schema: Mapping[str, Any], name: str, index: int) -> float:
    return _multiple(schema, int(schema.get("multipleOf", 1)), index)


def _multiple(schema: Mapping[str, Any], step: float, index: int) -> float:
    low, high = _bound(schema, "minimum", "exclusiveMinimum", max), _bound(schema, "maximum", "exclusiveMaximum", min)
    first = 1 if low is None else math.ceil(low / step)
    first += low is not None and first * step == schema.get("exclusiveMinimum")
    if high is None:
        return step * (first + index)
    last = math.floor(high / step)
    last -= last * step == schema.get("exclusiveMaximum")
    return step * (last - index if first > last else first + index % (last - first + 1))


def _bound(
    schema: Mapping[str, Any], name: str, exclusive: str, strictest: Callable[[Iterable[float]], float]
) -> float | None:
    given = [schema[each] for each in (name, exclusive) if each in schema]
    return strictest(given) if given else None


_TOLD_BY = {"properties": "object", "additionalProperties": "object", "items": "array", "prefixItems": "array"}
_TOLD_BY |= dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number")
_SIMPLE: dict[str, Callable[[Mapping[str, Any], str, int], Any]] = {
    "string": _string,
    "number": _number,
    "integer": _integer,
    "boolean": lambda _schema, _name, index: index % 2 == 0,
    "null": lambda _schema, _name, _index: None,
}
