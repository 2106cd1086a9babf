"""What `flow test` does, apart from reading its options."""

from __future__ import annotations

import argparse
import dis
import inspect
import json
import sys
import tomllib
from typing import Any

from flow.errors import GraphError, MissingError, NodeTypeError, SettingError
from flow.node_type import NodeType
from flow.testing.cases import concrete
from flow.testing.contract import FAILED, UNTRIED, Result, examine
from flow.testing.reproduce import source
from flow.testing.rules import RULES
from flow.testing.targets import Target, targets

WRONG_USE = 2


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status: 0 where all was kept, 1 where a rule was broken, 2 for wrong use."""
    if arguments.rules:
        for rule in RULES.values():
            print(f"{rule.id}  {rule.line}")
        return 0
    if not arguments.target:
        print('flow test: name a node, "module:node" or "file.py:node", or a graph file', file=sys.stderr)
        return WRONG_USE
    try:
        found = targets(arguments.target)
        rows = [row for target in found for row in _tested(target, arguments)]
    except GraphError as error:
        print(error, file=sys.stderr)
        return 1
    except (MissingError, SettingError, NodeTypeError) as error:
        print(f"flow test: {error}", file=sys.stderr)
        return WRONG_USE
    if arguments.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    return 1 if any(row["status"] in (FAILED, UNTRIED) for row in rows) else 0


def _settings(words: list[str], node_type: NodeType[Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise SettingError(f"--setting {word}: write KEY=VALUE, as in seconds=0.5")
        setting = node_type.settings.get(name.strip())
        is_text = setting is not None and setting.kind in ("str", "choice")
        settings[name.strip()] = text if is_text else _value(text)
    return settings


def _value(text: str) -> Any:
    """A value as TOML writes it; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _tested(target: Target, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    told = not arguments.json
    if told:
        print(target.name)
        for name in unread_settings(target.type):
            print(f"  hint: nothing in it reads its setting '{name}'")
    rows = []
    results = examine(
        target.type,
        settings={**target.settings, **_settings(arguments.setting, target.type)},
        level=arguments.level,
        rules=arguments.rule,
        seed=arguments.seed,
    )
    for result in results:
        test = source(_as_tried(target.type, result), result) if result.case is not None else ""
        rows.append({"node": target.name, **_row(result), "test": test})
        if told:
            _print(result, test)
    return rows


def unread_settings(node_type: NodeType[Any]) -> list[str]:
    """Settings that the node's function never reads: no rule fails for one, since nothing follows from it."""
    code = inspect.unwrap(node_type.function).__code__
    if "locals" in code.co_names:
        return []
    read = {each.argval for each in dis.get_instructions(code) if each.opname.startswith(("LOAD_", "DELETE_"))}
    return [name for name in node_type.settings if name not in {*read, *code.co_cellvars}]


def _as_tried(node_type: NodeType[Any], result: Result) -> NodeType[Any]:
    """The node with the messages that the failing case is of."""
    assert result.case is not None
    for each in concrete(node_type):
        if all(isinstance(message, each.ports[port].messages[0]) for port, _, message in result.case):
            return each
    return node_type


def _row(result: Result) -> dict[str, Any]:
    return {
        "rule": result.rule,
        "line": RULES[result.rule].line,
        "status": result.status,
        "text": result.text,
        "examples": result.examples,
        "trials": result.trials,
        "seconds": result.seconds,
    }


def _print(result: Result, test: str) -> None:
    counted = f"{result.examples} examples, {result.trials} trials" if result.trials else ""
    why = f"  {result.text}" if result.text else ""
    print(f"  {result.rule}  {result.status:<15}{counted:<26}{why or '  ' + RULES[result.rule].line}".rstrip())
    if test:
        print(f"\n{test}")
