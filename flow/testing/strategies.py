"""Hypothesis strategies for messages, from their types.

    messages(Clip)                      any clip
    messages(Clip, rate=16_000)         of one rate; a value or a strategy
    messages(Batch, sizes={"rows": 3})  a named dimension fixed

A name is drawn once a message, so that fields which share it agree. Sizes begin at 0, and small ones are tried
first. Floats hold NaN, infinities, -0.0 and denormals now and then; numbers keep to the `Range` of their field.
Arrays lie in memory in any way that numpy allows, and cannot be written to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from flow.message import Array, Field, Message
from flow.setting import Range

M = TypeVar("M", bound=Message)

SIZE_MAX = 4
# Beyond so many elements Hypothesis draws a seed and numpy the elements: drawing each costs 10 µs and more.
DRAWN_MAX = 24
LAYOUTS = ("C", "F", "strided", "reversed")


def messages(
    message: type[M],
    *,
    sizes: Mapping[str, int] | None = None,
    size_max: int = SIZE_MAX,
    bounds_of_sizes: Sequence[int] = (),
    **fixed: Any,
) -> st.SearchStrategy[M]:
    """Messages of a type.

    Args:
      sizes: sizes of named dimensions.
      size_max: the most that a dimension which is not in `sizes` is given.
      bounds_of_sizes: sizes at which something may change; those around them are tried too.
      fixed: values of fields, or strategies for them.
    """
    unknown = fixed.keys() - {field.name for field in message.fields}
    if unknown:
        raise TypeError(f"{message.__name__} has no field {', '.join(sorted(unknown))}")

    some_size = any_size(size_max, bounds_of_sizes)

    @st.composite
    def build(draw: st.DrawFn) -> M:
        bound = dict(sizes or {})
        values: dict[str, Any] = {}
        for field in message.fields:
            if field.name in fixed:
                value = fixed[field.name]
                values[field.name] = draw(value) if isinstance(value, st.SearchStrategy) else value
            elif field.kind == "scalar":
                values[field.name] = draw(scalars(field))
            elif field.kind == "table":
                names = draw(st.lists(st.text(max_size=6), max_size=3, unique=True))
                values[field.name] = {name: _array(draw, field, bound, some_size) for name in names}
            else:
                values[field.name] = _array(draw, field, bound, some_size)
        return message(**values)

    return build()


def any_size(size_max: int, bounds: Sequence[int] = ()) -> st.SearchStrategy[int]:
    """Sizes of a dimension: small ones first, then those around each bound."""
    near = sorted({size for bound in bounds for size in (bound - 1, bound, bound + 1) if size > size_max})
    small = st.integers(0, size_max)
    return small | st.sampled_from(near) if near else small


def scalars(field: Field) -> st.SearchStrategy[Any]:
    """Values of a scalar field, within its bounds."""
    low = field.bounds.low if field.bounds is not None else None
    high = field.bounds.high if field.bounds is not None else None
    if field.scalar is int:
        return st.integers(
            -(1 << 63) if low is None else math.ceil(low), (1 << 64) - 1 if high is None else math.floor(high)
        )
    if field.scalar is float:
        return st.floats(low, high, allow_nan=field.bounds is None)
    return st.booleans() if field.scalar is bool else st.text(max_size=20)


def _array(draw: st.DrawFn, field: Field, bound: dict[str, int], some_size: st.SearchStrategy[int]) -> Any:
    shape = _shape(draw, field, bound, some_size)
    array = draw(elements(draw(st.sampled_from(field.dtypes)), shape, field.bounds))
    array = laid_out(array, draw(st.sampled_from(LAYOUTS)))
    if field.library == "numpy":
        array.setflags(write=False)
        return array
    import torch  # only a message that declares a Tensor gets here

    return torch.from_numpy(np.ascontiguousarray(array))


def laid_out(array: Array, layout: str) -> Array:
    """The same elements elsewhere in memory: "C", "F", "strided" (with gaps) or "reversed" (backwards)."""
    if layout == "C" or array.ndim == 0:
        return array
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    gaps = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    gaps[..., ::2] = array
    return gaps[..., ::2]


def _shape(draw: st.DrawFn, field: Field, bound: dict[str, int], some_size: st.SearchStrategy[int]) -> tuple[int, ...]:
    shape = []
    for dim in field.dims:
        size = dim.resolved(bound) if dim.name != "_" else None
        if size is None:
            size = draw(some_size)
            if dim.name is not None and dim.name != "_":
                bound[dim.name] = size
            size += dim.size
        shape.append(size)
    if field.any_rank:
        shape += draw(st.lists(some_size, max_size=3 - min(len(shape), 2)))
    return tuple(shape)


@st.composite
def elements(draw: st.DrawFn, dtype: str, shape: tuple[int, ...], bounds: Range | None = None) -> Array:
    """Arrays of a dtype and shape, each number within bounds. Large ones are of a drawn seed; of seed 0 all is equal."""
    kind = np.dtype(dtype)
    low, high = _limits(kind, bounds)
    count = int(np.prod(shape))
    if count <= DRAWN_MAX:
        limits: dict[str, Any] = {} if low is None else {"min_value": low, "max_value": high}
        if limits and kind.kind == "f":
            limits |= {"allow_nan": False, "allow_infinity": False}
        drawn: Array = draw(npst.arrays(kind, shape, elements=npst.from_dtype(kind, **limits) if limits else None))
        return drawn
    seed = draw(st.integers(0, (1 << 32) - 1))
    if seed == 0:
        return np.full(shape, 0 if low is None else low, kind)
    generator = np.random.default_rng(seed)
    if kind.kind in "fc" and low is None:
        array = generator.standard_normal(count).astype(kind)
        strange = generator.integers(0, count, draw(st.integers(0, 3)))
        tiny = np.finfo(kind).smallest_subnormal
        array[strange] = generator.choice(np.array([np.nan, np.inf, -np.inf, -0.0, tiny], kind), len(strange))
    elif kind.kind == "f":
        array = generator.uniform(low, high, count).astype(kind).clip(low, high)
    elif low is not None:
        array = generator.integers(low, high, count, dtype=kind, endpoint=True)
    else:
        boolean = kind.kind == "b"
        array = np.frombuffer(generator.bytes(count * kind.itemsize), np.uint8 if boolean else kind).copy()
        if boolean:
            array = array > 127
    return array.reshape(shape)


def _limits(kind: np.dtype[Any], bounds: Range | None) -> tuple[Any, Any]:
    """The least and largest element, (None, None) where any will do."""
    if bounds is None or kind.kind in "bc":
        return None, None
    info: Any = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    low = info.min if bounds.low is None else max(info.min, bounds.low)
    high = info.max if bounds.high is None else min(info.max, bounds.high)
    if kind.kind in "iu":
        return math.ceil(low), math.floor(high)
    # A bound that the dtype cannot hold is rounded inwards.
    least, most = kind.type(low), kind.type(high)
    least = least if least >= low else np.nextafter(least, kind.type(np.inf))
    most = most if most <= high else np.nextafter(most, kind.type(-np.inf))
    return float(least), float(most)
