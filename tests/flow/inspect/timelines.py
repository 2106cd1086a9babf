"""Reads a timeline back, as a viewer of Chrome's trace format does, and holds it to what must be true of any."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


def slices(events: list[dict[str, Any]], category: str | None = None) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == "X" and category in (None, event["cat"])]


def arrows(events: list[dict[str, Any]], category: str | None = None) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of an arrow's beginning and end; an id that has not one of each is an error."""
    ends = defaultdict(dict)
    for event in events:
        if event["ph"] in "sf" and category in (None, event["cat"]):
            assert event["ph"] not in ends[event["cat"], event["id"]], f"two ends: {event}"
            ends[event["cat"], event["id"]][event["ph"]] = event
    assert all(len(pair) == 2 for pair in ends.values()), "an arrow with one end"
    return [(pair["s"], pair["f"]) for pair in ends.values()]


def enclosing(events: list[dict[str, Any]], end: dict[str, Any]) -> list[dict[str, Any]]:
    """The slices of its track that an arrow's end lies in, outermost first."""
    found = [
        each
        for each in slices(events)
        if (each["pid"], each["tid"]) == (end["pid"], end["tid"])
        and each["ts"] <= end["ts"] <= each["ts"] + each["dur"] + 1e-6
    ]
    return sorted(found, key=lambda each: -each["dur"])


def assert_sound(events: list[dict[str, Any]], *, whole: bool = True) -> None:
    """Slices of a track nest, arrows have two ends, go forward in time, and lie in slices, where none was dropped."""
    tracks = defaultdict(list)
    for event in slices(events):
        assert event["dur"] >= 0, event
        tracks[event["pid"], event["tid"]].append(
            (round(event["ts"] * 1000), round((event["ts"] + event["dur"]) * 1000))
        )
    for track, spans in tracks.items():
        inside: list[int] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while inside and inside[-1] <= start:
                inside.pop()
            assert not inside or end <= inside[-1], f"track {track}: {start} to {end} crosses the end {inside[-1]}"
            inside.append(end)
    ends = {(end["pid"], end["tid"], end["ts"]): end for pair in arrows(events) for end in pair}
    for begin, end in arrows(events):
        assert begin["ts"] < end["ts"], (begin, end)
        assert begin["name"] == end["name"]
    for end in list(ends.values())[: 200 if whole else 0]:
        assert enclosing(events, end), f"no slice holds {end}"
    named = {(event["pid"], event["tid"]) for event in events if event["ph"] == "M" and event["name"] == "thread_name"}
    assert tracks.keys() <= named
