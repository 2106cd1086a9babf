"""Hypothesis strategies for messages, from their types.

    messages(Clip)                      any clip
    messages(Clip, rate=16_000)         of one rate; a value or a strategy
    messages(Batch, sizes={"rows": 3})  a named dimension fixed

A name is drawn once a message, so that fields which share it agree. Sizes begin at 0, and small ones are tried
first. Floats hold NaN, infinities and -0.0 now and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from flow.message import Array, Field, Message

M = TypeVar("M", bound=Message)

SIZE_MAX = 4
# Beyond so many elements Hypothesis draws a seed and numpy the elements: drawing each costs 10 µs and more.
DRAWN_MAX = 24
_SCALARS: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(1 << 63), (1 << 64) - 1),
    float: st.floats(),
    bool: st.booleans(),
    str: st.text(max_size=20),
}


def messages(
    message: type[M], *, sizes: Mapping[str, int] | None = None, size_max: int = SIZE_MAX, **fixed: Any
) -> st.SearchStrategy[M]:
    """Messages of a type.

    Args:
      sizes: sizes of named dimensions.
      size_max: the most that a dimension which is not in `sizes` is given.
      fixed: values of fields, or strategies for them.
    """
    unknown = fixed.keys() - {field.name for field in message.fields}
    if unknown:
        raise TypeError(f"{message.__name__} has no field {', '.join(sorted(unknown))}")

    @st.composite
    def build(draw: st.DrawFn) -> M:
        bound = dict(sizes or {})
        values: dict[str, Any] = {}
        for field in message.fields:
            if field.name in fixed:
                value = fixed[field.name]
                values[field.name] = draw(value) if isinstance(value, st.SearchStrategy) else value
            elif field.kind == "scalar":
                values[field.name] = draw(_SCALARS[field.scalar])
            elif field.kind == "table":
                names = draw(st.lists(st.text(max_size=6), max_size=3, unique=True))
                values[field.name] = {name: _array(draw, field, bound, size_max) for name in names}
            else:
                values[field.name] = _array(draw, field, bound, size_max)
        return message(**values)

    return build()


def _array(draw: st.DrawFn, field: Field, bound: dict[str, int], size_max: int) -> Any:
    shape = _shape(draw, field, bound, size_max)
    array = draw(elements(draw(st.sampled_from(field.dtypes)), shape))
    if field.library == "numpy":
        return array
    import torch  # only a message that declares a Tensor gets here

    return torch.from_numpy(array)


def _shape(draw: st.DrawFn, field: Field, bound: dict[str, int], size_max: int) -> tuple[int, ...]:
    shape = []
    for dim in field.dims:
        size = dim.resolved(bound) if dim.name != "_" else None
        if size is None:
            size = draw(st.integers(0, size_max))
            if dim.name is not None and dim.name != "_":
                bound[dim.name] = size
            size += dim.size
        shape.append(size)
    more = draw(st.lists(st.integers(0, size_max), max_size=3)) if field.any_rank else []
    return (*shape, *more)


@st.composite
def elements(draw: st.DrawFn, dtype: str, shape: tuple[int, ...]) -> Array:
    """Arrays of a dtype and shape."""
    kind = np.dtype(dtype)
    if int(np.prod(shape)) <= DRAWN_MAX:
        drawn: Array = draw(npst.arrays(kind, shape))
        return drawn
    generator = np.random.default_rng(draw(st.integers(0, (1 << 32) - 1)))
    count = int(np.prod(shape))
    if kind.kind in "fc":
        array = generator.standard_normal(count).astype(kind)
        strange = generator.integers(0, count, draw(st.integers(0, 3)))
        array[strange] = generator.choice(np.array([np.nan, np.inf, -np.inf, -0.0], kind), len(strange))
    else:
        boolean = kind.kind == "b"
        array = np.frombuffer(generator.bytes(count * kind.itemsize), np.uint8 if boolean else kind).copy()
        if boolean:
            array = array > 127
    return array.reshape(shape)
