"""The ports a node talks through, and the other things its parameters can ask for."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from flow.message import Message

M = TypeVar("M", bound=Message)
Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
T = TypeVar("T")


class In(Generic[M]): ...


class Out(Generic[M]): ...


class Call(Generic[Q, A]): ...


class Serve(Generic[Q, A]): ...


class Publish(Generic[M]): ...


class Latest(Generic[M]): ...


class Live(Generic[T]):
    value: T


class Context:
    name: str


class Saved:
    def keep(self, name: str, thing: Any) -> Any: ...
