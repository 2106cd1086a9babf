"""The JSON Schema of graph files, from which an editor completes names and marks mistakes as they are typed.

It says less than `flow check`: it knows each file's text and not the graph that the text means, so whether ports
are tied and edges fit is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flow.carrier.codecs import CODECS
from flow.documentation import summary
from flow.graph.edges import ALL_KEYS
from flow.node_type import NodeType
from flow.setting import Setting

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_NAME = r"^[A-Za-z_]\w*$"
_END = r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$"
# Names of whole graphs, which only files that flow wrote hold: "agent.policy", "learner@trust=0.3".
_WHOLE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(@[\w.,=+-]+)?"
_WHOLE_END = rf"^{_WHOLE}\.[A-Za-z_]\w*$"
_WITH_PARAM: Schema = {
    "type": "string",
    "pattern": r"\{\w+\}",
    "description": 'A text with a param filled in: "{lanes}".',
}
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_PARAM: Schema = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}
_JSON = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}


def graph_schema(types: Mapping[str, NodeType[Any]]) -> Schema:
    """The schema of graph files that use these node types, each by the name that a graph writes."""
    tables: Schema = {
        "title": {"type": "string", "description": "What a run is called."},
        "paper": {"type": "string", "description": 'The paper it stands for: "arXiv:1909.11583".'},
        "extends": {"type": "string", "description": "A graph file; this one holds only what differs from it."},
        "remove": _texts('What of it is taken away: ["nodes.viewer", "edges.actor.frames"].'),
        "params": {
            **_table(_PARAM, 'What --set and profiles change; a text elsewhere asks for one as "{name}".'),
            "propertyNames": {"pattern": _NAME},
        },
        "nodes": {**_table(_node(types), "Each a node type, or a graph file."), "propertyNames": _pattern(_WHOLE)},
        "edges": _edges(complete=False),
        "ports": _ports(),
        "sweep": _table(_sweep(), "Copies of nodes, each with its own values of params, beside shared nodes."),
        "workers": _workers(),
        "hosts": _hosts(),
        "memory": _memory(),
        "until": _until(),
        "report": _report(),
        "profiles": _table(_profile(), "Changes under a name, for --profile."),
        "resolved": _closed(
            {"profile": {"type": "string"}, "params": _table(_PARAM, "The values that were filled in.")},
            "Written by flow into run directories: this file has its params filled in.",
        ),
    }
    return {
        "$schema": DIALECT,
        "title": "flow graph",
        **_closed(tables, "A graph of async nodes."),
        "dependentRequired": {"remove": ["extends"]},
        "allOf": [
            {"if": _without("extends"), "then": _complete(types)},
            {"if": _without("resolved"), "then": _named()},
        ],
    }


def _without(key: str) -> Schema:
    return {"not": {"required": [key]}}


def _complete(types: Mapping[str, NodeType[Any]]) -> Schema:
    """What a file must say where it extends no other."""
    required = {
        name: [setting.name for setting in found.settings.values() if setting.required] for name, found in types.items()
    }
    cases = [
        {"if": {"properties": {"run": {"const": name}}, "required": ["run"]}, "then": {"required": settings}}
        for name, settings in required.items()
        if settings
    ]
    node = {"anyOf": [{"required": ["run"]}, {"required": ["graph"]}], **({"allOf": cases} if cases else {})}
    sweep = {"required": ["nodes"], "anyOf": [{"required": ["grid"]}, {"required": ["list"]}]}
    return {
        "properties": {
            "nodes": {"additionalProperties": node},
            "edges": _edges(complete=True),
            "sweep": {"additionalProperties": sweep},
        },
        "anyOf": [{"required": ["nodes", "edges"]}, {"required": ["nodes", "ports"]}],
    }


def _named() -> Schema:
    """Names as people write them."""
    return {"properties": {"nodes": {"propertyNames": {"pattern": _NAME}}, "edges": {"propertyNames": _pattern(_END)}}}


def _pattern(pattern: str) -> Schema:
    return {"pattern": pattern if pattern.startswith("^") else f"^{pattern}$"}


def _texts(description: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "description": description}


def _closed(properties: Schema, description: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "description": description,
    }


def _table(values: Schema, description: str) -> Schema:
    return {"type": "object", "additionalProperties": values, "description": description}


def _or_param(schema: Schema) -> Schema:
    return {"anyOf": [schema, _WITH_PARAM]}


def _node(types: Mapping[str, NodeType[Any]]) -> Schema:
    """A node: its `run`, and what that type lets it say. A type that is not known here is not judged."""
    cases = [
        {
            "if": {"properties": {"run": {"const": name}}, "required": ["run"]},
            "then": _type_schema(name, found),
        }
        for name, found in types.items()
    ]
    run: Schema = {
        "type": "string",
        "description": 'The node type: "module:function", "file.py:function", or a name that a package registers.',
        "examples": list(types),
    }
    graph = {
        "type": "string",
        "description": "A graph file, whose open ports are this node's; other keys are its params, and profile.",
    }
    given = {"additionalProperties": _PARAM, "properties": {"run": False, "profile": {"type": "string"}}}
    return {
        "type": "object",
        "properties": {"run": run, "graph": graph},
        "allOf": [{"if": {"required": ["graph"]}, "then": given}, *cases],
    }


def _type_schema(name: str, found: NodeType[Any]) -> Schema:
    settings = {setting.name: setting_schema(setting) for setting in found.settings.values()}
    replicas = {"type": "integer", "minimum": 1, "default": 1, "description": "How many of it there are."}
    return _closed({"run": {"const": name}, "replicas": _or_param(replicas), **settings}, summary(found.doc))


def setting_schema(setting: Setting) -> Schema:
    """What a graph may write for a setting."""
    low, high = setting.bounds.low, setting.bounds.high
    bounds = {key: value for key, value in (("minimum", low), ("maximum", high)) if value is not None}
    value: Schema
    if setting.kind == "choice":
        value = {"enum": list(setting.choices)}
    elif setting.kind == "list":
        value = {"type": "array", "items": _or_param({"type": _JSON[setting.items], **bounds})}
    else:
        value = {"type": _JSON[setting.kind], **bounds}
    said: Schema = {"description": setting.doc} if setting.doc else {}
    if not setting.required and setting.default is not None:
        said["default"] = setting.default
    return {**_or_param(value), **said}


def _edges(*, complete: bool) -> Schema:
    """Edges. complete: a table must say where its edge goes, which in a file that extends another stands there."""
    receiver = {"type": "string", "pattern": _WHOLE_END, "description": 'A receiving port: "replay.inserts".'}
    several = {"anyOf": [receiver, {"type": "array", "items": receiver, "minItems": 1}]}
    whole = _or_param({"type": "integer", "minimum": 1})
    keys: Schema = {
        "to": several,
        "credit": {**whole, "description": "The most messages under way from one replica to another."},
        "credit_bytes": {**whole, "description": "The most bytes under way from one replica to another."},
        "mode": {
            "enum": ["share", "copy"],
            "description": "With several receivers: each message to one of them, or to all.",
        },
        "feedback": {"type": "boolean", "description": "It may close a cycle; its credit must hold what goes round."},
        "compress": {"enum": list(CODECS), "description": "What compresses messages between two hosts."},
    }
    assert tuple(sorted(keys)) == tuple(sorted(ALL_KEYS))
    table = {**_closed(keys, "An edge with more to say."), **({"required": ["to"]} if complete else {})}
    one = {"anyOf": [receiver, {**table, "required": ["to"]}]}
    return {
        **_table({"anyOf": [receiver, table, {"type": "array", "items": one, "minItems": 1}]}, ""),
        "propertyNames": _pattern(_WHOLE_END),
        "description": 'Sending port = receiving port: "actor.policy" = "policy.requests".',
    }


def _ports() -> Schema:
    port = {"type": "string", "anyOf": [{"pattern": _WHOLE_END}, _WITH_PARAM]}
    several = {"anyOf": [port, {"type": "array", "items": port, "minItems": 1}]}
    text = 'What is left open for graphs that include this one: requests = "policy.requests".'
    return {**_table(several, text), "propertyNames": {"pattern": _NAME}}


def _sweep() -> Schema:
    axes: Schema = {
        **_table({"type": "array", "items": _PARAM, "minItems": 1}, "Values of each param."),
        "minProperties": 1,
    }
    row: Schema = {**_table(_PARAM, "A copy's values."), "minProperties": 1}
    keys: Schema = {
        "nodes": {**_texts("What is copied."), "minItems": 1},
        "grid": {**axes, "description": "Each with each: { trust = [0.1, 0.3] }."},
        "list": {"type": "array", "items": row, "minItems": 1, "description": "A table a copy: [{ trust = 0.1 }]."},
        "per_copy": {"type": "boolean", "default": False, "description": "Each copy has workers of its own."},
    }
    closed = _closed(keys, "Copies of nodes over a grid or a list of params.")
    return {**closed, "not": {"required": ["grid", "list"]}}


def _workers() -> Schema:
    hosted = {"type": "string", "pattern": rf"^({_WHOLE}(\[\d+\])?|.*\{{\w+\}}.*)$"}
    lists = {"type": "array", "items": hosted, "minItems": 1}
    return _table(lists, 'The nodes that share a process: play = ["actor[0]", "policy"].')


def _hosts() -> Schema:
    keys: Schema = {
        "listen": {
            "type": "string",
            "description": 'Where the other hosts reach it, and at which ports: "10.0.0.2:7100-7119".',
        },
        "workers": _texts("The workers that live there; those that no host names live at home."),
    }
    host = {**_closed(keys, "A machine of the run."), "required": ["listen"]}
    text = "The machines that it runs on: home, where flow run is started, and those that join it with flow worker."
    return {**_table(host, text), "propertyNames": {"pattern": _NAME}}


def _memory() -> Schema:
    size = {"type": "string", "pattern": r"^(\d+(\.\d+)? ?[MG]iB|.*\{\w+\}.*)$"}
    return _table(size, 'How much memory a worker may take before it is started again: play = "2 GiB".')


def _until() -> Schema:
    number = _or_param({"type": "number", "exclusiveMinimum": 0})
    times = {name: {**number, "description": f"Time in {name}."} for name in ("seconds", "minutes", "hours")}
    text = (
        "A run is done when one of these is reached: a time, or a counter, which adds up over replicas and the copies "
        'of a sweep; "frames@trust=0.3" is that of one copy.'
    )
    return {**_table(number, text), "properties": times}


def _report() -> Schema:
    show = {"type": "array", "items": {"type": "string"}, "description": "Metrics in the order they are shown."}
    curve = {"type": "string", "description": "The series that is the learning curve."}
    return _closed({"show": show, "curve": curve}, "What a run shows.")


def _profile() -> Schema:
    settings = {"type": "object", "description": "Changes of the node's settings."}
    changes: Schema = {
        "params": _table(_PARAM, "Values of params."),
        "nodes": _table(settings, "Changes of nodes, key by key."),
        "sweep": _table(_sweep(), "Changes of sweeps, key by key."),
        "workers": _workers(),
        "hosts": _hosts(),
        "memory": _memory(),
        "until": _until(),
    }
    return _closed(changes, "A variant of the graph.")
