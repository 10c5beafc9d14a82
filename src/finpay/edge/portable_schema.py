"""JSON Schema of msgspec as generators of clients read it.

Its meaning stays. What is added or left out is what made generated Go and Java clients fail.
"""

from inspect import cleandoc
from typing import Any, Final

_MAX_INT32: Final = 2**31 - 1


def portable(schema: Any) -> Any:
    """A schema, or a mapping of schemas, with each schema in it made portable."""
    if isinstance(schema, list):
        return [portable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: portable(each) for name, each in schema.items()}
    if isinstance(made.get("description"), str):  # a docstring: indented, a code block in Markdown
        made["description"] = cleandoc(made["description"])
    if made.get("type") == "integer" and made.get("maximum", _MAX_INT32 + 1) > _MAX_INT32:
        made["format"] = "int64"  # amounts are 32 bits wide without it
    if _is_choice_of_texts(made):
        made["type"] = "string"
    if "anyOf" in made and {"type": "null"} in made["anyOf"]:
        made = _nullable(made)
    return made


def _is_choice_of_texts(schema: dict[str, Any]) -> bool:
    choices = schema.get("enum")
    return (
        "type" not in schema
        and isinstance(choices, list)
        and all(isinstance(each, str) for each in choices)
    )


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """A type and null: one schema with two types instead of a class that wraps both.

    A default of null says nothing that an absent member does not say.
    """
    made = {name: each for name, each in schema.items() if name != "default"}
    others = [each for each in made["anyOf"] if each != {"type": "null"}]
    if len(others) > 1 or "$ref" in others[0]:
        return made
    del made["anyOf"]
    other: dict[str, Any] = others[0]
    made = other | made | {"type": [other["type"], "null"]}
    if "enum" in made:
        made["enum"] = [*made["enum"], None]
    return made
