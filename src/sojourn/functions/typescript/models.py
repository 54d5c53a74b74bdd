"""From a model of Pydantic to a type of TypeScript, by its JSON Schema. Pydantic is there only if a model is."""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sojourn.functions.typescript.declarations import (
    Declarations,
    Property,
    Way,
    alias,
    array,
    either,
    interface,
    literal,
)

__all__ = ["spelled"]

_PLAIN: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}

Schema = Mapping[str, Any]
Within = Callable[[str], str]
"""Gives what stands for a definition that a schema refers to."""


def spelled(kind: type, way: Way, declarations: Declarations) -> str | None:
    """Return the mark of a model, or None for anything else."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not issubclass(kind, pydantic.BaseModel):
        return None
    # A result is written by the names of its fields, an argument is read by their aliases.
    is_argument = way is Way.ARGUMENT
    mode = "validation" if is_argument else "serialization"
    schema: Schema = pydantic.TypeAdapter(kind).json_schema(by_alias=is_argument, mode=mode, ref_template="{model}")
    definitions: Schema = schema.get("$defs", {})
    classes = {name: one for one in _classes(kind, set()) for name in (one.__name__, _path(one).replace(".", "__"))}

    def declared(name: str, schema: Schema, one: type | None) -> str:
        plain = re.sub(r"\W+", "_", name if one is None else one.__name__).strip("_")
        return declarations.mark(
            (kind, name) if one is None else one,
            way,
            name=plain,
            path=f"{_path(kind)}_{plain}" if one is None else _path(one),
            declare=lambda name: _declared(name, schema, within, is_total=not is_argument and _is_total(one)),
        )

    def within(name: str) -> str:
        return declared(name, definitions[name], classes.get(name))

    # One that holds its own kind is a definition itself.
    return declared(kind.__name__, definitions[schema["$ref"]] if "$ref" in schema else schema, kind)


def _classes(kind: Any, seen: set[type]) -> Iterator[type]:  # noqa: ANN401  whatever can be an annotation
    """Find the classes that a model is made of."""
    for argument in typing.get_args(kind):
        yield from _classes(argument, seen)
    if isinstance(kind, type) and kind not in seen:
        seen.add(kind)
        yield kind
        fields = [*getattr(kind, "model_fields", {}).values(), *getattr(kind, "model_computed_fields", {}).values()]
        for field in fields:
            yield from _classes(getattr(field, "annotation", None) or getattr(field, "return_type", None), seen)


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_total(kind: type | None) -> bool:
    """Say whether all fields are written, whatever has a default: so it is but for a TypedDict."""
    return kind is not None and not hasattr(kind, "__total__")


def _declared(name: str, schema: Schema, within: Within, *, is_total: bool) -> str:
    doc = str(schema.get("description", ""))
    if "properties" not in schema:
        return alias(name, _spelled(schema, within), doc)
    return interface(name, _fields(schema, within, is_total=is_total), doc)


def _fields(schema: Schema, within: Within, *, is_total: bool = False) -> Iterator[Property]:
    required = schema["properties"] if is_total else schema.get("required", ())
    for name, field in schema["properties"].items():
        yield Property(name, _spelled(field, within), name not in required, str(field.get("description", "")))


def _spelled(schema: Schema, within: Within) -> str:
    match schema:
        case {"$ref": name}:
            return within(name)
        case {"const": value}:
            return literal(value)
        case {"enum": values}:
            return either(map(literal, values))
        case {"anyOf": schemas} | {"oneOf": schemas} | {"allOf": [_] as schemas}:
            return either(_spelled(one, within) for one in schemas)
        case {"type": "array"}:
            return _list(schema, within)
        case {"type": "object"}:
            return _object(schema, within)
        case _:
            return _PLAIN.get(schema.get("type", ""), "unknown")


def _list(schema: Schema, within: Within) -> str:
    if "prefixItems" in schema:
        return f"readonly [{', '.join(_spelled(item, within) for item in schema['prefixItems'])}]"
    return array(_inner(schema.get("items"), within))


def _object(schema: Schema, within: Within) -> str:
    if "properties" in schema:
        return f"{{ {'; '.join(f'readonly {field.written}' for field in _fields(schema, within))} }}"
    return f"{{ readonly [key: string]: {_inner(schema.get('additionalProperties'), within)} }}"


def _inner(schema: Any, within: Within) -> str:  # noqa: ANN401  where anything is allowed, it is none, or True
    return "unknown" if schema is None or schema is True else _spelled(schema, within)
