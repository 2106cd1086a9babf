"""Settings that name a field of the messages that pass."""

from __future__ import annotations

from flow import Message
from flow.errors import SettingError
from flow.graph.problems import nearest
from flow.message import Field


def require_field(message: type[Message], name: str, setting: str) -> Field:
    """The field of that name.

    Raises:
      SettingError: there is none; names the nearest.
    """
    fields = {field.name: field for field in message.fields}
    if name not in fields:
        raise SettingError(f"{setting} = {name!r}: {message.__name__} has no field '{name}'{nearest(name, fields)}")
    return fields[name]
