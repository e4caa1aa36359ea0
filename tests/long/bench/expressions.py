"""DynamoDB's condition and update expressions, as far as GPTDock writes them, compiled once for each text.

Values keep DynamoDB's form (`{"N": "1"}`); names are always placeholders. What is not understood raises ValueError.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Item = dict[str, Any]
_TOKEN = re.compile(r"[#:][\w#.]+|\w+|<=|>=|[=<>(),+-]|(\S)")
_COMPARED = {
    "=": lambda left, right: left == right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


class Scope(NamedTuple):
    """What an expression is about: the item as it is, with the request's names and values."""

    item: Item
    names: Mapping[str, str]
    values: Mapping[str, Item]


Condition = Callable[[Scope], bool]
Operand = Callable[[Scope], Item | None]
Change = Callable[[Scope, Item], None]  # of the new item, by what the old one was


def holds(request: Mapping[str, Any], item: Item | None) -> bool:
    """Whether the request's condition, if it has one, holds for the item as it is."""
    text = request.get("ConditionExpression")
    return text is None or _condition(text)(_scope(request, item or {}))


def updated(request: Mapping[str, Any], item: Item | None) -> Item:
    """The item after the request's update. Raises ValueError if that reads a number which is not there."""
    scope = _scope(request, request["Key"] if item is None else item)
    new = dict(scope.item)
    for change in _update(request["UpdateExpression"]):
        change(scope, new)
    return new


def _scope(request: Mapping[str, Any], item: Item) -> Scope:
    return Scope(item, request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {}))


class _Tokens:
    """The words of an expression that are left."""

    def __init__(self, text: str) -> None:
        self.left = list(self._split(text))

    def _split(self, text: str) -> Iterator[str]:
        for found in _TOKEN.finditer(text):
            if found[1]:
                raise ValueError(text)
            yield found[0]

    def next(self) -> str:
        return self.left.pop(0)

    def took(self, *words: str) -> bool:
        """Whether one of these comes next; it is taken then."""
        return bool(self.left) and self.left[0] in words and bool(self.left.pop(0))


@functools.cache
def _condition(text: str) -> Condition:
    return _all_of(_Tokens(text))


def _all_of(tokens: _Tokens) -> Condition:
    """AND and OR, from left to right: where GPTDock mixes them, it writes parentheses."""
    left = _one(tokens)
    while True:
        if tokens.took("AND"):
            left = _both(left, _one(tokens))
        elif tokens.took("OR"):
            left = _either(left, _one(tokens))
        else:
            return left


def _both(left: Condition, right: Condition) -> Condition:
    return lambda scope: left(scope) and right(scope)


def _either(left: Condition, right: Condition) -> Condition:
    return lambda scope: left(scope) or right(scope)


def _one(tokens: _Tokens) -> Condition:
    token = tokens.next()
    if token == "(":
        inner = _all_of(tokens)
        tokens.next()
        return inner
    if token in ("attribute_exists", "attribute_not_exists"):
        tokens.next()
        operand, wanted = _operand(tokens.next()), token == "attribute_exists"
        tokens.next()
        return lambda scope: (operand(scope) is not None) == wanted
    left, compared, right = _operand(token), _COMPARED[tokens.next()], _operand(tokens.next())
    return lambda scope: _compare(left(scope), compared, right(scope))


def _compare(left: Item | None, compared: Callable[[Any, Any], bool], right: Item | None) -> bool:
    return left is not None and right is not None and compared(_plain(left), _plain(right))


def _plain(value: Item) -> int | str:
    ((kind, plain),) = value.items()
    return int(plain) if kind == "N" else str(plain)


def _operand(token: str) -> Operand:
    if token[0] == ":":
        return lambda scope: scope.values[token]
    first, *rest = token.split(".")
    if rest:
        (second,) = rest
        return lambda scope: scope.item.get(scope.names[first], {"M": {}})["M"].get(scope.names[second])
    return lambda scope: scope.item.get(scope.names[first])


@functools.cache
def _update(text: str) -> list[Change]:
    tokens, changes = _Tokens(text), []
    while tokens.left:
        act = {"SET": _set, "REMOVE": _remove}[tokens.next()]
        changes.append(act(tokens))
        while tokens.took(","):
            changes.append(act(tokens))
    return changes


def _set(tokens: _Tokens) -> Change:
    name, _, left = tokens.next(), tokens.next(), _operand(tokens.next())
    right = _operand(tokens.next()) if tokens.took("+") else None

    def change(scope: Scope, new: Item) -> None:
        value = left(scope) if right is None else _sum(left(scope), right(scope))
        if value is None:
            raise ValueError("an operand is missing")
        new[scope.names[name]] = value

    return change


def _remove(tokens: _Tokens) -> Change:
    name = tokens.next()

    def change(scope: Scope, new: Item) -> None:
        new.pop(scope.names[name], None)

    return change


def _sum(left: Item | None, right: Item | None) -> Item:
    if left is None or right is None:
        raise ValueError("an operand is missing")
    return {"N": str(int(left["N"]) + int(right["N"]))}
