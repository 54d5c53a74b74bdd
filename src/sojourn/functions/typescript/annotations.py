"""From a Python annotation to a type of TypeScript, as msgspec has it in JSON."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import NODEFAULT, inspect

from sojourn.functions.typescript import models
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

_PLAIN: Final[dict[type[inspect.Type], str]] = {
    inspect.AnyType: "unknown",
    inspect.RawType: "unknown",
    inspect.NoneType: "null",
    inspect.BoolType: "boolean",
    inspect.IntType: "number",
    inspect.FloatType: "number",
    inspect.StrType: "string",
    # Written as text: in base64, in the forms of ISO 8601, with all digits.
    inspect.BytesType: "string",
    inspect.ByteArrayType: "string",
    inspect.MemoryViewType: "string",
    inspect.DateTimeType: "string",
    inspect.DateType: "string",
    inspect.TimeType: "string",
    inspect.TimeDeltaType: "string",
    inspect.DecimalType: "string",
    inspect.UUIDType: "string",
}

_Record = inspect.StructType | inspect.DataclassType | inspect.TypedDictType | inspect.NamedTupleType


def spelled(kind: Any, way: Way, declarations: Declarations) -> str:  # noqa: ANN401  whatever can be an annotation
    """Return the type, with marks for those that have a name.

    Raises:
        TypeError: msgspec has no form for it.
    """
    return _spelled(inspect.type_info(kind), way, declarations)


def _spelled(node: inspect.Type, way: Way, declarations: Declarations) -> str:
    match node:
        case inspect.Metadata():
            return _spelled(node.type, way, declarations)
        case inspect.LiteralType():
            return either(map(literal, node.values))
        case inspect.EnumType():
            values = either(literal(member.value) for member in node.cls)
            return _marked(node.cls, way, declarations, lambda name: alias(name, values, _doc(node.cls)))
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
            return _marked(node.cls, way, declarations, lambda name: _declared(name, node, way, declarations))
        case inspect.CustomType():
            return models.spelled(node.cls, way, declarations) or f"unknown /* {_path(node.cls)} */"
        case _:
            return _PLAIN.get(type(node)) or _composed(node, lambda inner: _spelled(inner, way, declarations))


def _composed(node: inspect.Type, spell: Callable[[inspect.Type], str]) -> str:
    """Return the type of what has others in it, and no name."""
    match node:
        case inspect.UnionType():
            return either(map(spell, node.types))
        case inspect.TupleType():
            return f"readonly [{', '.join(map(spell, node.item_types))}]"
        case inspect.CollectionType():
            return array(spell(node.item_type))
        case inspect.DictType():
            return f"{{ readonly [key: string]: {spell(node.value_type)} }}"
        case _:
            return "unknown"


def _marked(kind: Any, way: Way, declarations: Declarations, declare: Callable[[str], str]) -> str:  # noqa: ANN401
    return declarations.mark(kind, way, name=_name(kind), path=_path(kind), declare=declare)


def _declared(name: str, node: _Record, way: Way, declarations: Declarations) -> str:
    is_ordered = isinstance(node, inspect.NamedTupleType) or getattr(node, "array_like", False)
    is_partial = isinstance(node, inspect.TypedDictType)
    config = getattr(typing.get_origin(node.cls) or node.cls, "__struct_config__", None)
    omits = not is_ordered and config is not None and config.omit_defaults

    def stays_out(field: inspect.Field) -> bool:
        if field.required:
            return False
        is_unset = field.default is NODEFAULT and field.default_factory is NODEFAULT
        return way is Way.ARGUMENT or is_partial or is_unset or omits

    fields = [
        Property(field.encode_name, _spelled(field.type, way, declarations), stays_out(field), _said(field.type))
        for field in node.fields
    ]
    tag = getattr(node, "tag", None)
    if tag is not None:
        fields.insert(0, Property(getattr(node, "tag_field", None) or "type", literal(tag)))
    if is_ordered:
        return alias(name, _places(fields), _doc(node.cls))
    return interface(name, fields, _doc(node.cls))


def _places(fields: Sequence[Property]) -> str:
    """Return the type of what has its fields in order instead of by name: none before a required one stays out."""
    last = max((place for place, one in enumerate(fields) if not one.is_optional), default=-1)
    places = (one._replace(is_optional=place > last) for place, one in enumerate(fields))
    return f"readonly [{', '.join(one.written for one in places)}]"


def _said(node: inspect.Type) -> str:
    """Return what a `Meta` says of a field."""
    extra: dict[str, Any] | None = getattr(node, "extra_json_schema", None)
    return str((extra or {}).get("description", ""))


def _doc(kind: Any) -> str:  # noqa: ANN401
    plain = typing.get_origin(kind) or kind
    doc = plain.__doc__ or ""
    is_made = doc.startswith(f"{plain.__name__}(") or doc == "An enumeration."
    return "" if is_made else doc


def _name(kind: Any) -> str:  # noqa: ANN401
    """Return the name of a class; Page[Item] is PageOfItem."""
    plain = typing.get_origin(kind) or kind
    name = str(getattr(plain, "__name__", plain)).strip("_") or "Value"
    arguments = typing.get_args(kind)
    name = name if not arguments and plain.__module__ != "builtins" else name[:1].upper() + name[1:]
    return name + ("Of" + "And".join(map(_name, arguments)) if arguments else "")


def _path(kind: Any) -> str:  # noqa: ANN401
    plain = typing.get_origin(kind) or kind
    behind = "".join(f"_{_name(argument)}" for argument in typing.get_args(kind))
    return f"{plain.__module__}.{plain.__qualname__}{behind}"
