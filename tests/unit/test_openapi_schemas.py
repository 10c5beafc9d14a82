"""The schemas of the OpenAPI document, as generators of clients read them."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from finpay.edge import openapi
from finpay.edge.portable_schema import portable

DOCUMENT: Final = openapi.document()
NAMES: Final = sorted(DOCUMENT["components"]["schemas"])
NULL: Final = {"type": "null"}


def schemas(part: Any = DOCUMENT) -> Iterator[dict[str, Any]]:
    """Every object of the document, whatever it describes."""
    if isinstance(part, dict):
        yield part
    for each in part.values() if isinstance(part, dict) else part:
        if isinstance(each, dict | list):
            yield from schemas(each)


@pytest.mark.fault("G1")
def test_integers_that_may_pass_32_bits_are_int64() -> None:
    integers = [each for each in schemas() if "integer" in str(each.get("type"))]
    assert len(integers) > 10
    for each in integers:
        assert each.get("format") == "int64" or each["maximum"] < 2**31, each


@pytest.mark.fault("G2")
def test_names_of_schemas_collide_with_none_that_generators_make() -> None:
    """Go has a constructor NewX for each X; some file systems ignore case."""
    assert len({name.lower() for name in NAMES}) == len(NAMES)
    made = {f"New{name}" for name in NAMES} | {f"Nullable{name}" for name in NAMES}
    assert not made & {*NAMES}


@pytest.mark.fault("G3")
def test_null_is_no_default() -> None:
    assert not [each for each in schemas() if each.get("default", 0) is None]


@pytest.mark.fault("G4")
def test_nullable_values_are_one_schema_with_two_types() -> None:
    for each in schemas():
        if NULL in each.get("anyOf", []):
            assert "$ref" in str(each["anyOf"]), each
        if None in each.get("enum", []):
            assert each["type"] == ["string", "null"], each


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"type": "integer"}, {"type": "integer", "format": "int64"}),
        ({"type": "integer", "maximum": 100}, {"type": "integer", "maximum": 100}),
        ({"enum": ["a"]}, {"enum": ["a"], "type": "string"}),
        (
            {"anyOf": [{"enum": ["a"]}, NULL], "description": "d", "default": None},
            {"enum": ["a", None], "type": ["string", "null"], "description": "d"},
        ),
        (
            {"anyOf": [{"type": "string", "maxLength": 5, "description": "inner"}, NULL]},
            {"type": ["string", "null"], "maxLength": 5, "description": "inner"},
        ),
        ({"anyOf": [{"$ref": "#/a"}, NULL]}, {"anyOf": [{"$ref": "#/a"}, NULL]}),
        (
            {"properties": {"enum": {"type": "string"}}},
            {"properties": {"enum": {"type": "string"}}},
        ),
    ],
)
def test_schema_is_made_portable(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert portable(given) == made
