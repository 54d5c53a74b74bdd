"""Checkpoints as states of snapshots, so that what one shares with the last is found and not stored again.

A channel that is a list, as `messages` is, is serialized item by item: of a conversation of a thousand messages a new
one is one item. All else goes through LangGraph's serializer value by value.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

import msgspec
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol

from sojourn.errors import CorruptError

__all__ = ["Channel", "Form", "Text", "checkpoint_of", "metadata_of", "state_of", "text_of", "value_of"]

Text: TypeAlias = tuple[str, str, str]
"""A serialized value: its kind, how its bytes are written, and those."""

_VALUES: Final = "channel_values"
_PLAIN: Final = frozenset({"channel_versions", "versions_seen"})
"""What of a checkpoint is plain JSON data by itself: names, and versions."""
_LATIN: Final = "latin-1"
_BASE64: Final = "base64"


class Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A channel's value: whole, or item by item where it is a list."""

    value: Text | None = None
    items: list[Text] | None = None


class Form(msgspec.Struct, frozen=True):
    """A checkpoint with its metadata, as it is stored."""

    channels: dict[str, Channel]
    plain: dict[str, dict[str, Any]]
    others: dict[str, Text]
    metadata: dict[str, Text]


def text_of(serde: SerializerProtocol, value: object) -> Text:
    """Serialize a value, and write its bytes as text in the shorter of two ways.

    What the serializer raises comes back as it is.
    """
    kind, data = serde.dumps_typed(value)
    legible = data.decode(_LATIN)
    if len(msgspec.json.encode(legible)) <= 4 * -(-len(data) // 3) + 2:
        return kind, _LATIN, legible
    return kind, _BASE64, base64.b64encode(data).decode()


def value_of(serde: SerializerProtocol, text: Text) -> Any:  # noqa: ANN401  whatever was serialized
    """Return the value that `text_of` serialized.

    What the serializer raises comes back as it is.

    Raises:
        CorruptError: the text is damaged.
    """
    kind, how, written = text
    try:
        data = base64.b64decode(written, validate=True) if how == _BASE64 else written.encode(_LATIN)
    except ValueError as error:
        raise CorruptError(f"a value of a checkpoint cannot be read: {error}") from error
    return serde.loads_typed((kind, data))


def state_of(serde: SerializerProtocol, checkpoint: Checkpoint, metadata: CheckpointMetadata) -> Form:
    """Return a checkpoint and its metadata as they are stored.

    What the serializer raises comes back as it is.
    """
    parts = dict(cast("Mapping[str, Any]", checkpoint))
    channels: Mapping[str, object] = parts.pop(_VALUES)
    plain = {name: parts.pop(name) for name in _PLAIN & parts.keys()}
    return Form(
        channels={name: _channel(serde, value) for name, value in channels.items()},
        plain=plain,
        others={name: text_of(serde, value) for name, value in parts.items()},
        metadata={name: text_of(serde, value) for name, value in metadata.items()},
    )


def checkpoint_of(serde: SerializerProtocol, state: Form) -> Checkpoint:
    """Return the checkpoint that `state_of` made this of.

    Raises:
        CorruptError: a text in it is damaged.
    """
    values = {name: _value(serde, channel) for name, channel in state.channels.items()}
    others = {name: value_of(serde, text) for name, text in state.others.items()}
    return cast("Checkpoint", {**others, **state.plain, _VALUES: values})


def metadata_of(serde: SerializerProtocol, state: Form) -> CheckpointMetadata:
    """Return the metadata that `state_of` was given.

    Raises:
        CorruptError: a text in it is damaged.
    """
    return cast("CheckpointMetadata", {name: value_of(serde, text) for name, text in state.metadata.items()})


def _channel(serde: SerializerProtocol, value: object) -> Channel:
    if type(value) is list:  # one of a subclass would not come back as such
        return Channel(items=[text_of(serde, item) for item in cast("list[object]", value)])
    return Channel(value=text_of(serde, value))


def _value(serde: SerializerProtocol, channel: Channel) -> object:
    if channel.value is not None:
        return value_of(serde, channel.value)
    return [value_of(serde, text) for text in channel.items or ()]
