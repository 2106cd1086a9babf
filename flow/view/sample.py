"""A message that passed a port, as lines for people and as JSON for scripts."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

from flow.inspect.samples import Sample, SampledArray
from flow.inspect.statistics import statistics
from flow.view.numbers import real


def sample_lines(title: str, sample: Sample) -> list[str]:
    """A sample for people."""
    clock = time.strftime("%H:%M:%S", time.localtime(sample.time)) + f".{int(sample.time % 1 * 1000):03d}"
    missed = (f"  {sample.skipped} skipped" if sample.skipped else "") + (
        f"  {sample.dropped} dropped" if sample.dropped else ""
    )
    found = [f"{title} #{sample.number}  {clock}  {sample.what} {sample.type}{missed}"]
    width = max((len(name) for name in sample.fields), default=0)
    for name, value in sample.fields.items():
        said = array_line(value) if isinstance(value, SampledArray) else f"{type(value).__name__:<8} {value!r:.80}"
        found.append(f"  {name:<{width}}  {said}")
    return found


def array_line(value: SampledArray) -> str:
    """dtype, shape and statistics of an array."""
    found = statistics(value.values)
    shape = f"({', '.join(map(str, value.shape))})"
    parts = [f"{value.values.dtype.name:<8} {shape:<22}"]
    if found.least is not None and found.most is not None:
        parts.append(f"{real(found.least)} to {real(found.most)}")
    if found.mean is not None and found.spread is not None:
        parts.append(f"mean {real(found.mean)} ± {real(found.spread)}")
    parts += [f"{found.nans} NaN"] if found.nans else []
    parts += [f"{found.infinities} infinite"] if found.infinities else []
    if value.is_cut:
        parts.append(f"of its first ({', '.join(map(str, value.values.shape))})")
    return "  ".join(parts)


def sample_json(title: str, sample: Sample) -> dict[str, Any]:
    """A sample for scripts: statistics in place of arrays."""
    fields: dict[str, Any] = {}
    for name, value in sample.fields.items():
        if isinstance(value, SampledArray):
            shown = {"dtype": value.values.dtype.name, "shape": value.shape, "of_first": value.values.shape}
            fields[name] = {**shown, **asdict(statistics(value.values))}
        else:
            fields[name] = None if isinstance(value, float) and not math.isfinite(value) else value
    return {**{key: item for key, item in vars(sample).items() if key != "fields"}, "port": title, "fields": fields}
