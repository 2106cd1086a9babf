"""What a message is, and when one type of message fits another.

    class Clip(Message):
        samples: Float32[Array, "time"]      an array: dtype, and dimensions that are sizes or names
        rate: int                            a scalar: int, float, bool or str
        weights: dict[str, Float32[Array, "..."]]    a table of arrays by name
    rate: Annotated[int, Range(1, 192_000)]      bounds, both included; of an array's elements too

A message is a frozen record. Its annotations are jaxtyping's; they are read once, when the class is made, into
`fields`, which everything else works from: checking, the wire, whether an edge fits, documentation.

A name means one size within one message. A name that is also a setting of the node stands for that setting's
value. `_` stands for a dimension of any size, `steps+1` for one more than `steps`, and `...` at the end for any number
of further dimensions.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, cast, dataclass_transform

import numpy as np

from flow import node_files
from flow.documentation import field_docs
from flow.errors import MessageError, NodeTypeError
from flow.setting import Range

if TYPE_CHECKING:
    import torch

    Tensor: TypeAlias = torch.Tensor
    Array: TypeAlias = np.ndarray[Any, Any]
else:
    Array = np.ndarray

    class Tensor:
        """Stands for `torch.Tensor` in an annotation, so that declaring a message does not import torch."""


M = TypeVar("M", bound="Message")
Sizes: TypeAlias = Mapping[str, int]

# A numpy array's dtype as the wire and the annotations name it.
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
SCALARS: dict[type, str] = {int: "int", float: "float", bool: "bool", str: "str"}


@dataclass(frozen=True)
class Dim:
    """One dimension: a size, a name, a name plus a constant, `_`, or `...`."""

    name: str | None
    size: int  # the size, or what is added to the name

    def __str__(self) -> str:
        if self.name is None:
            return str(self.size)
        return self.name if self.size == 0 else f"{self.name}+{self.size}"

    def resolved(self, sizes: Sizes) -> int | None:
        """The size, where it is a number or `sizes` knows the name; else None."""
        if self.name is None:
            return self.size
        known = sizes.get(self.name)
        return None if known is None else known + self.size


@dataclass(frozen=True)
class Field:
    """One field of a message type.

    kind: "array", "table" (arrays by name) or "scalar". dtypes: those an array may have. any_rank: whether more
    dimensions may follow `dims`. library: "numpy" or "torch", what the node gets. scalar: the Python type of a scalar.
    bounds: of each number, both included; NaN is out of any.
    """

    name: str
    kind: str
    doc: str = ""
    dtypes: tuple[str, ...] = ()
    dims: tuple[Dim, ...] = ()
    any_rank: bool = False
    library: str = "numpy"
    scalar: type = int
    bounds: Range | None = None

    def __str__(self) -> str:
        bounds = "" if self.bounds is None else f" {self.bounds}"
        if self.kind == "scalar":
            return SCALARS[self.scalar] + bounds
        text = f"{_dtypes(self.dtypes)} ({', '.join([*map(str, self.dims), *['...'] * self.any_rank])}){bounds}"
        return f"{{name: {text}}}" if self.kind == "table" else text


@dataclass_transform(frozen_default=True)
class Message:
    """Base of all messages; a subclass's annotations are its fields.

    `class Question(Message, repeatable=True)` says that asking twice does no harm: a call is then asked again
    when its server was restarted before it answered. `shown="module:function"` names what an inspector shows of it
    beside numbers; see `flow/inspect/shown.py`.
    """

    fields: ClassVar[tuple[Field, ...]] = ()
    repeatable: ClassVar[bool] = False
    shown: ClassVar[str] = ""

    def __init_subclass__(
        cls, *, repeatable: bool = False, shown: str = "", fields: tuple[Field, ...] | None = None
    ) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True, eq=False)(cls)
        cls.repeatable = repeatable
        cls.shown = shown
        cls.fields = _read_fields(cls) if fields is None else fields  # given: of a type derived from others


def _dtypes(dtypes: tuple[str, ...]) -> str:
    return "any" if dtypes == DTYPES else "|".join(dtypes)


def _read_fields(cls: type[Message]) -> tuple[Field, ...]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise NodeTypeError(
            f"message {cls.__qualname__}: {error}; {node_files.import_hint(error, cls.__module__)}"
        ) from error
    docs = field_docs(cls)
    return tuple(
        _read_field(cls.__qualname__, field.name, hints[field.name], docs.get(field.name, ""))
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
    )


def _read_field(owner: str, name: str, hint: Any, doc: str) -> Field:
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        bounds = next((extra for extra in extras if isinstance(extra, Range)), None)
        read = _read_field(owner, name, hint, doc)
        if bounds is not None and read.kind == "scalar" and read.scalar not in (int, float):
            raise NodeTypeError(f"message {owner}, field {name}: a {read} has no Range; take it away")
        return dataclasses.replace(read, bounds=bounds or read.bounds)
    if hint in SCALARS:
        return Field(name, "scalar", doc, scalar=hint)
    if typing.get_origin(hint) is dict:
        key, value = typing.get_args(hint)
        if key is str and hasattr(value, "dim_str"):
            array = _read_field(owner, name, value, doc)
            return dataclasses.replace(array, kind="table")
    if hasattr(hint, "dim_str"):
        words = hint.dim_str.split()
        any_rank = words[-1:] == ["..."]
        if "..." in words[:-1]:
            raise NodeTypeError(
                f"message {owner}, field {name}: '...' comes last, found '{hint.dim_str}'; "
                "name the dimensions before it"
            )
        dims = tuple(_read_dim(owner, name, word) for word in words[: len(words) - any_rank])
        dtypes = tuple(dtype for dtype in DTYPES if _allows(hint.dtypes, dtype))
        library = "torch" if hint.array_type is Tensor else "numpy"
        return Field(name, "array", doc, dtypes, dims, any_rank, library)
    raise NodeTypeError(
        f"message {owner}, field {name}: {inspect.formatannotation(hint)} is not something a message carries; "
        'use int, float, bool, str, an array such as Float32[Array, "time"], or dict[str, <array>]'
    )


def _allows(patterns: Any, dtype: str) -> bool:
    if not isinstance(patterns, (list, tuple)):  # jaxtyping's Shaped: any dtype
        return True
    return any(
        re.fullmatch(pattern, dtype) if isinstance(pattern, str) else pattern.match(dtype) for pattern in patterns
    )


def _read_dim(owner: str, name: str, word: str) -> Dim:
    if word.isdigit():
        return Dim(None, int(word))
    match = re.fullmatch(r"([A-Za-z_]\w*)(?:\+(\d+))?", word)
    if match is None:
        raise NodeTypeError(
            f"message {owner}, field {name}: dimension '{word}' is not understood; write a size, a name, "
            "name+1, _ or ..."
        )
    return Dim(match[1], int(match[2] or 0))


def check(message: Message, expected: type[Message], sizes: Sizes) -> None:
    """Hold a message to its type.

    Raises:
      MessageError: a field has another type, dtype, rank or size; the text says which, found and expected.
    """
    if not isinstance(message, expected):
        raise MessageError(f"expected a {expected.__name__}, found {type(message).__name__}")
    bound = dict(sizes)
    for field in expected.fields:
        value = getattr(message, field.name)
        if field.kind == "array":
            _check_array(field, field.name, value, bound)
        elif field.kind == "table":
            if not isinstance(value, dict):
                raise MessageError(f"field {field.name}: expected {field}, found {type(value).__name__}")
            for key, array in value.items():
                _check_array(field, f"{field.name}[{key!r}]", array, bound)
        elif type(value) is not field.scalar and not (field.scalar is float and type(value) is int):
            raise MessageError(f"field {field.name}: expected {field}, found {type(value).__name__} {value!r:.60}")
        elif field.bounds is not None and not field.bounds.holds(cast(float, value)):
            raise MessageError(f"field {field.name}: expected {field}, found {value!r}")


def signature(message: Message) -> object | None:
    """What `check` looks at, to be compared: type, and of each field dtype and shape, or its scalar's type.

    None where there is none: a table, a field that is no array, or bounds, which each value is held to.
    """
    parts: list[object] = [type(message)]
    for field in message.fields:
        if field.bounds is not None:
            return None
        value = getattr(message, field.name)
        if field.kind == "array":
            if type(value) is not np.ndarray:
                return None
            parts.append(value.dtype)
            parts.append(value.shape)
        elif field.kind == "scalar":
            parts.append(type(value))
        else:
            return None
    return tuple(parts)


def _check_array(field: Field, name: str, value: Any, bound: dict[str, int]) -> None:
    dtype = getattr(value, "dtype", None)
    shape = getattr(value, "shape", None)
    if dtype is None or shape is None:
        raise MessageError(f"field {name}: expected {field}, found {type(value).__name__}")
    dtype_name = dtype.name if isinstance(value, np.ndarray) else str(dtype).removeprefix("torch.")
    problem = array_problem(field, dtype_name, tuple(shape), bound)
    if problem:
        raise MessageError(f"field {name}: {problem}")
    if field.bounds is not None and not _within(value, field.bounds):
        raise MessageError(f"field {name}: expected {field}, found {_outside(value, field.bounds)}")


def _outside(array: Any, bounds: Range) -> str:
    """The first element of an array that is not in a range, and where it is."""
    inside = array == array  # NaN is not
    inside &= True if bounds.low is None else array >= bounds.low
    inside &= True if bounds.high is None else array <= bounds.high
    wrong = np.argwhere(~(inside if isinstance(inside, np.ndarray) else np.asarray(inside.cpu())))
    place = tuple(int(at) for at in wrong[0])
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"{array[place].item()!r} at {list(place)}{more}"


def _within(array: Any, bounds: Range) -> bool:
    """Whether all elements of an array, numpy's or torch's, lie in a range; NaN does not."""
    low = bounds.low is None or bool((array >= bounds.low).all())
    return low and (bounds.high is None or bool((array <= bounds.high).all()))


def array_problem(field: Field, dtype: str, shape: tuple[int, ...], bound: dict[str, int]) -> str:
    """What is wrong with an array of this dtype and shape for this field; "" if nothing is.

    bound: sizes of names known so far in this message; names met here are added.
    """
    if dtype not in field.dtypes:
        return f"expected {field}, found dtype {dtype}"
    if len(shape) < len(field.dims) or (len(shape) > len(field.dims) and not field.any_rank):
        return f"expected {field}, found shape {shape}"
    for dim, size in zip(field.dims, shape, strict=False):
        known = dim.resolved(bound)
        if known is None:
            assert dim.name is not None
            if size < dim.size:
                return f"expected {field}, found shape {shape}"
            if dim.name != "_":
                bound[dim.name] = size - dim.size
        elif known != size and dim.name != "_":
            return f"expected {field} with {dim} = {known}, found shape {shape}"
    return ""


def misfitting(
    sender: type[Message], sends: Sizes, receiver: type[Message], receives: Sizes
) -> list[tuple[Field | None, Field]]:
    """The fields for which messages of one type cannot be received as another: what is sent, None if not, and wanted.

    Types fit by structure: each field of the receiver must be sent, with a dtype it takes and sizes that can be
    equal. `sends` and `receives` hold the sizes that the two nodes' settings fix. A sender that declares any dtype
    or any number of dimensions fits a receiver that declares one: each message is held to it as it arrives.
    """
    sent = {field.name: field for field in sender.fields}
    pairs = [(sent.get(want.name), want) for want in receiver.fields]
    return [(have, want) for have, want in pairs if have is None or not _fields_fit(have, sends, want, receives)]


def misfits(sender: type[Message], sends: Sizes, receiver: type[Message], receives: Sizes) -> list[str]:
    """`misfitting` as a text a field; empty when the types fit."""
    return [
        f"field {want.name}: not sent; expected {want}"
        if have is None
        else f"field {want.name}: sends {shown(have, sends)}, receives {shown(want, receives)}"
        for have, want in misfitting(sender, sends, receiver, receives)
    ]


def _fields_fit(have: Field, sends: Sizes, want: Field, receives: Sizes) -> bool:
    if have.kind != want.kind:
        return False
    if have.kind == "scalar":
        return have.scalar is want.scalar
    if have.dtypes != DTYPES and not set(have.dtypes) <= set(want.dtypes):
        return False
    if (len(have.dims) < len(want.dims) and not have.any_rank) or (
        len(have.dims) > len(want.dims) and not want.any_rank
    ):
        return False
    pairs = ((a.resolved(sends), b.resolved(receives)) for a, b in zip(have.dims, want.dims, strict=False))
    return all(a is None or b is None or a == b for a, b in pairs)


def shown(field: Field, sizes: Sizes) -> str:
    """A field's dtype and dimensions, each named dimension with its size where that is known."""
    if field.kind == "scalar" or not field.dims:
        return str(field)
    bounds = "" if field.bounds is None else f" {field.bounds}"
    dims = [
        f"{dim}={size}" if dim.name and (size := dim.resolved(sizes)) is not None else str(dim) for dim in field.dims
    ]
    return f"{_dtypes(field.dtypes)} ({', '.join([*dims, *['...'] * field.any_rank])}){bounds}"


def conformed(message: M, wanted: type[M] | None) -> M:
    """The message as the type that its receiver declares, which may hold fewer fields or other libraries' arrays."""
    if wanted is None or type(message) is wanted:
        return message
    return wanted(**{field.name: getattr(message, field.name) for field in wanted.fields})


def freeze(message: Message) -> None:
    """Make a message's arrays read-only: once sent they are shared with whoever receives them."""
    for field in message.fields:
        value = getattr(message, field.name)
        for array in value.values() if field.kind == "table" else (value,):
            if isinstance(array, np.ndarray):
                array.setflags(write=False)


def size_in_bytes(message: Message) -> int:
    """Bytes of the message's arrays; what credit in bytes counts."""
    total = 0
    for field in message.fields:
        value = getattr(message, field.name)
        if field.kind == "array":
            total += int(value.nbytes)
        elif field.kind == "table":
            total += sum(int(array.nbytes) for array in value.values())
    return total


def as_library(message: Message) -> Message:
    """The message with the arrays its type declares as `Tensor` turned into torch tensors, sharing memory."""
    wanted = [field for field in message.fields if field.library == "torch"]
    if not wanted:
        return message
    import torch  # only a node that declares a Tensor gets here, and it needs torch itself

    changed = {}
    for field in wanted:
        value = getattr(message, field.name)
        if field.kind == "table":
            changed[field.name] = {k: v if isinstance(v, torch.Tensor) else _tensor(torch, v) for k, v in value.items()}
        elif not isinstance(value, torch.Tensor):
            changed[field.name] = _tensor(torch, value)
    return dataclasses.replace(message, **changed)  # type: ignore[type-var]


def _tensor(torch: Any, array: Array) -> Any:
    with warnings.catch_warnings():  # torch has no read-only tensors and says so at the first one
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
