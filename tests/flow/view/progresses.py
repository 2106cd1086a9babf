"""Any state that a run can be in, as a strategy."""

from hypothesis import strategies as st

from flow.logs import Event
from flow.progress import (
    CounterProgress,
    Curve,
    CurvePoint,
    GaugeProgress,
    NewValue,
    NodeProgress,
    Progress,
    SeriesProgress,
)

anything = st.floats()
seconds = st.floats(0, 1e9)
names = st.one_of(st.sampled_from(["frames", "episode_return", "policy_lag"]), st.text(min_size=1, max_size=40))
units = st.text(max_size=16)
counters = st.builds(
    CounterProgress, st.integers(0, 2**63 - 1), st.floats(0, 1e12), units, st.none() | st.floats(0, 1e18)
)
gauges = st.builds(GaugeProgress, anything, units)
news = st.lists(st.builds(NewValue, seconds, anything, anything), max_size=3).map(tuple)
series = st.builds(SeriesProgress, st.none() | anything, anything, st.integers(0, 10**9), units, news)
points = st.builds(CurvePoint, seconds, anything, anything, anything, st.integers(1, 1000))
curves = st.builds(Curve, names, names, st.lists(points, max_size=30).map(tuple))
nodes = st.builds(
    NodeProgress,
    names,
    st.integers(0, 5),
    st.sampled_from(["starting", "running", "waiting", "ended", "failed", "paused", "hung", "gone"]),
    st.integers(0, 100),
    st.text(max_size=20),
    st.integers(0, 2**22),
    st.text(max_size=200),
)
events = st.builds(Event, seconds, st.sampled_from(["info", "warning", "error"]), names, st.text(max_size=99))


copies = st.lists(st.sampled_from(["trust=0.1", "trust=0.3", "learning_rate=0.0003,entropy_cost=0.005"]), unique=True)


@st.composite
def progresses(draw):
    swept = draw(copies)
    kinds = [draw(st.dictionaries(names, kind, max_size=5)) for kind in (counters, gauges, series)]
    for kind, values in zip(kinds, (counters, gauges, series), strict=True):
        kind |= {f"{name}@{copy}": draw(values) for name in list(kind)[:2] for copy in swept}
    return Progress(
        now=draw(seconds),
        elapsed=draw(seconds),
        left=draw(st.none() | st.floats(0, allow_nan=False)),
        fraction=draw(st.none() | st.floats(0, 1)),
        x_name=draw(names),
        x=draw(seconds),
        shown=tuple(dict.fromkeys(name for kind in kinds for name in kind)),
        counters=kinds[0],
        gauges=kinds[1],
        series=kinds[2],
        curve=draw(st.none() | curves),
        copies=tuple(swept),
        nodes=tuple(draw(st.lists(nodes, max_size=8))),
        faults=tuple(draw(st.lists(st.text(max_size=150), max_size=3))),
        events=tuple(draw(st.lists(events, max_size=5))),
    )
