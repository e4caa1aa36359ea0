"""Values that the simulated OpenAI makes for JSON schemas, judged by a validator and by pydantic."""

import datetime
import decimal
import enum
import uuid
from typing import Any, Literal

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from gptdock.dev.schemas import value_for

small = st.integers(0, 5)
words = st.text("abc", min_size=1, max_size=3)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float = Field(gt=0, lt=1)


class Text(BaseModel):
    kind: Literal["text"]
    words: str = Field(min_length=30, max_length=40)


class Tree(BaseModel):
    value: int = Field(ge=3, lt=10)
    left: "Tree | None"
    branches: list["Tree"]


class Everything(BaseModel):
    tree: Tree
    shape: Circle | Text = Field(discriminator="kind")
    colour: Colour
    at: datetime.datetime
    day: datetime.date
    name: uuid.UUID
    price: decimal.Decimal
    counts: dict[str, int]
    pair: tuple[int, str]
    tags: set[str] = Field(min_length=3)
    numbers: frozenset[int] = Field(min_length=2)
    rows: list[list[int]]
    maybe: int | None = None
    yes: bool
    anything: Any


class Strict(BaseModel):
    tree: Tree
    shape: Circle | Text
    colour: Colour
    maybe: int | None


@pytest.mark.parametrize("schema", [Everything.model_json_schema(), Strict.model_json_schema()])
def test_a_value_fits_the_schema_of_a_model(schema):
    jsonschema_rs.validate(schema, value_for(schema))


def test_a_value_is_read_by_the_model_that_asked_for_it():
    strict = Strict.model_validate(value_for(to_strict_json_schema(Strict)))

    assert strict.tree.left is not None
    assert (strict.maybe, strict.colour) == (1, Colour.RED)
    assert Everything.model_validate(value_for(Everything.model_json_schema())).counts == {"counts 1": 1}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}},
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"]}]},
        {"type": ["null", "string"], "format": "email"},
        {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 4},
        {"type": "integer", "maximum": -3},
        {"type": "number", "exclusiveMaximum": -3},
        {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
        {"type": "array", "maxItems": 0},
        {"type": "object", "additionalProperties": {"type": "null"}, "minProperties": 3},
        {"minimum": 3},
        {},
        True,
    ],
)
def test_a_value_fits_a_schema_written_by_hand(schema):
    jsonschema_rs.validate(schema, value_for(schema))


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"properties": {"a": {"$ref": "#"}}, "required": ["a"]}])
def test_a_schema_that_never_ends_has_a_value_that_does(schema):
    assert "a" in str(value_for(schema)) or value_for(schema) is None


def bounds(kind: str, least: str, most: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda low, more: {"type": kind, least: low, most: low + more}, small, small)


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda each, bound: {**bound, "items": each}, items, bounds("array", "minItems", "maxItems"))


def objects(fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda properties, required, open_: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in required],
            "additionalProperties": open_,
        },
        st.dictionaries(words, fields, max_size=3),
        st.sets(words),
        st.booleans(),
    )


leaves = st.one_of(
    bounds("string", "minLength", "maxLength"),
    bounds("integer", "minimum", "maximum"),
    bounds("number", "minimum", "maximum"),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, small),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 7}, {"enum": ["a", 2, None]}]),
)


def choices(options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda some: {"anyOf": some}, st.lists(options, min_size=1, max_size=3))


schemas = st.recursive(leaves, lambda inner: st.one_of(lists(inner), objects(inner), choices(inner)))


@settings(max_examples=50)
@given(schemas)
def test_a_value_fits_any_schema(schema):
    assert jsonschema_rs.is_valid(schema, value_for(schema))
