"""Random graph files without a mistake, as the tables that TOML holds."""

from hypothesis import strategies as st

from flow.graph.write import toml

TYPES = "tests.nodes_for_tests:"
# No word is near another, so that a misspelt one has one nearest.
WORDS = [
    "camera",
    "kettle",
    "window",
    "garden",
    "pencil",
    "bottle",
    "island",
    "marble",
    "thunder",
    "violin",
    "hazelnut",
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(
    lambda text: text.replace("{", "").replace("}", "")
)


@st.composite
def graph_files(draw):
    """Streams from sources through relays to sinks; in half of them actors ask a policy that a learner teaches."""
    names = iter(draw(st.permutations(WORDS)))
    nodes, outs, edges, played = {}, [], {}, draw(st.booleans())
    for _ in range(draw(st.integers(1, 2))):
        nodes[name := next(names)] = {"run": f"{TYPES}source", "lanes": "{lanes}"} | draw(replicas())
        outs.append(f"{name}.frames")
    if played:
        play(draw, names, nodes, outs, edges)
    relays = [next(names) for _ in range(draw(st.integers(0, 3)))]
    for name in relays:
        nodes[name] = {"run": f"{TYPES}relay"} | draw(replicas())
        receive(draw, edges, draw(st.sampled_from(outs)), f"{name}.coming")
        outs.append(f"{name}.going")
    if relays and draw(st.booleans()):
        receive(draw, edges, f"{relays[-1]}.going", f"{relays[0]}.coming", {"feedback": True, "credit": 3})
    sink = next(names)
    nodes[sink] = {"run": f"{TYPES}sink", "lanes": "{lanes}"}
    for out in [out for out in outs if out not in edges] or outs[:1]:
        receive(draw, edges, out, f"{sink}.frames")
    lanes = draw(st.integers(1, 64))
    return {
        "title": draw(texts),
        "params": {"lanes": lanes, "hurry": draw(st.floats(0.5, 1e6))},
        "nodes": dict(draw(st.permutations(list(nodes.items())))),
        "edges": {key: said(value) for key, value in edges.items()},
        "workers": draw(workers(nodes)),
        "until": {"frames": "{hurry}", "minutes": draw(st.integers(1, 90))},
        "report": {"show": draw(st.lists(texts, max_size=2))},
        "profiles": {"tiny": {"params": {"lanes": 1}, "until": {"seconds": 1.5}}},
    }  # fmt: skip


def play(draw, names, nodes, outs, edges):
    policy, learner = next(names), next(names)
    nodes[policy] = {"run": f"{TYPES}policy"} | draw(replicas())
    nodes[learner] = {"run": f"{TYPES}learner", "rate": draw(st.floats(1e-9, 1.0))}
    edges[f"{learner}.weights"] = [{"to": f"{policy}.weights"}]
    for _ in range(draw(st.integers(1, 2))):
        name = next(names)
        nodes[name] = {"run": f"{TYPES}actor", "game": draw(texts), "lanes": "{lanes}"} | draw(replicas())
        edges[f"{name}.policy"] = [{"to": f"{policy}.requests"}]
        receive(draw, edges, f"{name}.frames", f"{learner}.frames")
        outs.append(f"{name}.frames")


def replicas():
    return st.one_of(st.just({}), st.integers(1, 3).map(lambda number: {"replicas": number}))


def receive(draw, edges, sender, receiver, more=None):
    credit = draw(
        st.one_of(st.just({}), st.fixed_dictionaries({"credit": st.integers(1, 9), "credit_bytes": st.just(999)}))
    )
    mode = {"mode": draw(st.sampled_from(["share", "copy"]))}
    edges.setdefault(sender, []).append({"to": receiver, **mode, **credit, **(more or {})})


def said(receivers):
    return receivers[0] if len(receivers) == 1 else receivers


@st.composite
def workers(draw, nodes):
    found = {}
    for name, node in nodes.items():
        for entry in draw(st.sampled_from([[], [name], [f"{name}[{at}]" for at in range(node.get("replicas", 1))]])):
            found.setdefault(draw(st.sampled_from(["main", "second", "third"])), []).append(entry)
    return found


def text_of(raw):
    """The file's text: what is no table comes first, as TOML wants it."""
    parts = [f"{key} = {toml(value)}\n" for key, value in raw.items() if not isinstance(value, dict)]
    for table, values in raw.items():
        if isinstance(values, dict):
            lines = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in values.items())
            parts.append(f"[{table}]\n{lines}")
    return "\n".join(parts)
