"""Hypothesis strategies for messages, from their types.

    messages(Clip)                      any clip
    messages(Clip, rate=16_000)         of one rate; a value or a strategy
    messages(Batch, sizes={"rows": 3})  a named dimension fixed

A name is drawn once a message, so that fields which share it agree. Sizes begin at 0, and small ones are tried
first. Floats hold NaN, infinities, -0.0 and denormals now and then; numbers keep to the `Range` of their field.
Arrays lie in memory in any way that numpy allows, and cannot be written to.
"""

from __future__ import annotations

import functools
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
_LAYOUT = st.sampled_from(LAYOUTS)
_NAMES = st.lists(st.text(max_size=6), max_size=3, unique=True)
_SEED = st.integers(0, (1 << 32) - 1)


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

    return _messages(message, dict(sizes or {}), any_size(size_max, tuple(bounds_of_sizes)), fixed)


@st.composite
def _messages(
    draw: st.DrawFn, message: type[M], sizes: dict[str, int], some_size: st.SearchStrategy[int], fixed: dict[str, Any]
) -> M:
    return draw_message(draw, message, dict(sizes), some_size, fixed)


def draw_message(
    draw: st.DrawFn,
    message: type[M],
    bound: dict[str, int],
    some_size: st.SearchStrategy[int],
    fixed: Mapping[str, Any] | None = None,
) -> M:
    """One message. bound: sizes of named dimensions; those met here are added."""
    values: dict[str, Any] = {}
    for field in message.fields:
        if fixed and field.name in fixed:
            value = fixed[field.name]
            values[field.name] = draw(value) if isinstance(value, st.SearchStrategy) else value
        elif field.kind == "scalar":
            values[field.name] = draw(scalars(field))
        elif field.kind == "table":
            names = draw(_NAMES)
            values[field.name] = {name: _array(draw, field, bound, some_size) for name in names}
        else:
            values[field.name] = _array(draw, field, bound, some_size)
    return message(**values)


@functools.cache
def any_size(size_max: int, bounds: tuple[int, ...] = ()) -> st.SearchStrategy[int]:
    """Sizes of a dimension: small ones first, then those around each bound."""
    near = sorted({size for bound in bounds for size in (bound - 1, bound, bound + 1) if size > size_max})
    small = st.integers(0, size_max)
    return small | st.sampled_from(near) if near else small


@functools.cache
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
    dtype = field.dtypes[0] if len(field.dtypes) == 1 else draw(st.sampled_from(field.dtypes))
    array = _elements(draw, dtype, shape, field.bounds)
    if array.size > 1:
        array = laid_out(array, draw(_LAYOUT))
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
    """Arrays of a dtype and shape, each number within bounds."""
    return _elements(draw, dtype, shape, bounds)


def _elements(draw: st.DrawFn, dtype: str, shape: tuple[int, ...], bounds: Range | None) -> Array:
    kind = np.dtype(dtype)
    count = math.prod(shape)
    if count == 0:
        return np.zeros(shape, kind)
    if count <= DRAWN_MAX:
        drawn: Array = draw(_drawn_arrays(dtype, shape, bounds))
        return drawn
    low, high = _limits(kind, bounds)
    seed = draw(_SEED)
    if seed == 0:  # the simplest of all, for a failure that does not need more
        return np.full(shape, 0 if low is None else low, kind)
    return _of_seed(np.random.default_rng(seed), kind, count, low, high, draw(_STRANGE)).reshape(shape)


_STRANGE = st.integers(0, 3)


@functools.lru_cache(maxsize=1000)
def _drawn_arrays(dtype: str, shape: tuple[int, ...], bounds: Range | None) -> st.SearchStrategy[Array]:
    kind = np.dtype(dtype)
    low, high = _limits(kind, bounds)
    limits: dict[str, Any] = {} if low is None else {"min_value": low, "max_value": high}
    if limits and kind.kind == "f":
        limits |= {"allow_nan": False, "allow_infinity": False}
    one: Any = npst.from_dtype(kind, **limits)
    return npst.arrays(kind, shape, elements=one)


def _of_seed(generator: np.random.Generator, kind: np.dtype[Any], count: int, low: Any, high: Any, odd: int) -> Array:
    """So many numbers. odd: how many of them are NaN, infinite, -0.0 or denormal."""
    if kind.kind in "fc" and low is None:
        array: Array = generator.standard_normal(count).astype(kind)
        strange = generator.integers(0, count, odd)
        tiny = np.finfo(kind).smallest_subnormal
        array[strange] = generator.choice(np.array([np.nan, np.inf, -np.inf, -0.0, tiny], kind), len(strange))
        return array
    if kind.kind == "f":
        return generator.uniform(low, high, count).astype(kind).clip(low, high)
    if low is not None:
        return generator.integers(low, high, count, dtype=kind, endpoint=True)
    boolean = kind.kind == "b"
    raw = np.frombuffer(generator.bytes(count * kind.itemsize), np.uint8 if boolean else kind).copy()
    return raw > 127 if boolean else raw


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
