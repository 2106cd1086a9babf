"""The contract: numbered rules that any node can be held to.

    test_contract = contract(chunker, settings={"seconds": 0.5})      in a test file: one pytest test a rule

    for result in examine(chunker): print(result)

A rule that does not apply to a node says so, one that a node is excused from says why; neither passes silently.
"""

from __future__ import annotations

import contextlib
import importlib
import time
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from flow.errors import MissingError, SettingError
from flow.graph.registry import install
from flow.node_type import NodeType
from flow.testing.case import Case
from flow.testing.cases import Cases, concrete
from flow.testing.compare import digest
from flow.testing.rules import RULES, BrokenError, Rule, Subject, UnfitError
from flow.testing.rules.messages import seed_rule
from flow.testing.rules.rule import Budget


@dataclass(frozen=True)
class Level:
    """How much is tried.

    seconds: of the loop's CPU, for all rules of a node together: how much is tried does not depend on what else the
    machine does. examples: of a rule, at most; least: at least. shrink_seconds: to find a smallest failure.
    """

    seconds: float
    examples: int
    least: int = 3
    shrink_seconds: float = 1.5


LEVELS = {
    "quick": Level(1.6, 25),
    "full": Level(28.0, 500, least=10, shrink_seconds=10.0),
    "soak": Level(600.0, 100_000, least=100, shrink_seconds=60.0),
}
# So many cases must fail to show what one would have shown.
SOME = 8
OK, EXCUSED, NOT_APPLICABLE, UNTRIED, FAILED = "ok", "excused", "does not apply", "not tried", "FAILED"


@dataclass(frozen=True)
class Result:
    """What came of one rule.

    text: why it is excused, does not apply or was not tried, or how it was broken. examples: cases that said something
    of the rule. trials: starts of the node. case: a smallest one that shows how the rule is broken.
    """

    rule: str
    status: str
    text: str = ""
    examples: int = 0
    trials: int = 0
    seconds: float = 0.0
    case: Case | None = None

    def __str__(self) -> str:
        told = f" ({self.text})" if self.text and self.status != FAILED else ""
        broken = f": {self.text}" if self.status == FAILED else ""
        return f"{self.rule}  {self.status}{told}{broken}"


@dataclass
class _Search:
    """One rule being tried on drawn cases."""

    rule: Rule
    type: NodeType[Any]
    level: Level
    seconds: float
    examples: int = 0
    trials: int = 0
    kept: int = 0
    refused: list[str] = field(default_factory=list)
    worst: tuple[int, Case, str] | None = None
    budget: Budget = field(default_factory=Budget)

    def run(self, strategy: st.SearchStrategy[Case], seed: int) -> Result:
        began = time.monotonic()
        self.budget = Budget(self.seconds)
        quiet = hypothesis.settings(
            max_examples=max(self.level.examples, 3 * SOME) if self.rule.some else self.level.examples,
            database=None,
            deadline=None,
            phases=(Phase.generate,) if self.rule.some else (Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            verbosity=hypothesis.Verbosity.quiet,
            print_blob=False,
        )
        with contextlib.suppress(BrokenError, unittest.SkipTest):
            hypothesis.seed(seed)(quiet(hypothesis.given(strategy)(self._example)))()
        return self._result(time.monotonic() - began)

    def _example(self, case: Case) -> None:
        least = self._least()
        if self.budget.over and (self.worst or self.examples >= least or self.refused):
            raise unittest.SkipTest("time is up")  # ends the search at once, where any other error would be looked into
        if self.rule.some and self.kept:
            raise unittest.SkipTest("one case shows it")
        subject = Subject(self.type, case, self.budget)
        try:
            self.rule.check(subject)
            self.kept += 1
        except UnfitError as unfit:
            if unfit.refused:
                self.refused.append(unfit.refused)
            return
        except BrokenError as broken:
            self._broken(case, str(broken))
        finally:
            self.trials += subject.tried
        self.examples += 1

    def _least(self) -> int:
        """So many examples are tried though the time be up: one that shows nothing says little where some must."""
        if self.rule.some:
            return SOME
        return self.level.least if self.budget.spent < 2 * self.seconds else 1

    def _broken(self, case: Case, text: str) -> None:
        if self.worst is None and not self.rule.some:
            self.budget = Budget(self.level.shrink_seconds)
        size = len(_key(case))
        if self.worst is None or size <= self.worst[0]:
            self.worst = size, case, text
        self.examples += 1
        if not self.rule.some:
            raise BrokenError(text)

    def _result(self, took: float) -> Result:
        common: dict[str, Any] = {"examples": self.examples, "trials": self.trials, "seconds": round(took, 3)}
        shown = self.rule.some and (self.kept or self.examples < SOME)
        if self.worst is not None and not shown:
            return Result(self.rule.id, FAILED, self.worst[2], case=self.worst[1], **common)
        if self.examples:
            return Result(self.rule.id, OK, **common)
        if self.refused:
            why = (
                f"every case was refused: {self.refused[-1]}; say what is valid with --setting, a Range, or "
                "Promises(given=…)"
            )
            return Result(self.rule.id, UNTRIED, why, **common)
        return Result(self.rule.id, UNTRIED, "no case says anything of it, or all break another rule", **common)


def _key(case: Case) -> bytes:
    messages = [f"{port}{moment}".encode() + digest(message) for port, moment, message in case]
    seeds = f"{dict(case.settings)}{case.seed} {case.schedule} {list(case.choices)} {case.most} {dict(case.dims)}"
    return b"".join([seeds.encode(), *messages])


def examine(
    node_type: NodeType[Any],
    *,
    settings: Mapping[str, Any] | None = None,
    level: str | Level = "quick",
    rules: Sequence[str] = (),
    seed: int = 0,
) -> Iterator[Result]:
    """Hold a node to the contract, a result a rule. A node of any message is tried with a few message types.

    Args:
      settings: those that are not to be drawn.
      level: "quick", "full", "soak", or one of your own.
      rules: their numbers; all if none are given.

    Raises:
      SettingError: a rule or a setting that there is not.
      MissingError: a package that the node needs is not installed.
    """
    for name in rules:
        if name not in RULES:
            raise SettingError(f"there is no rule '{name}'; there are {', '.join(RULES)}")
    for package in node_type.needs:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise MissingError(f"{node_type.name} needs the package '{package}'; {install(package)}") from error
    wanted = [RULES[name] for name in rules or RULES]
    types = concrete(node_type)
    tried = [rule for rule in wanted if rule.id not in node_type.promises.excused and not rule.applies(node_type)]
    effort = LEVELS[level] if isinstance(level, str) else level
    seconds = effort.seconds / max(1, len(tried) * len(types))
    refused = ""
    for rule in wanted:
        if refused and rule in tried:
            yield Result(rule.id, UNTRIED, "as above")
        elif reason := node_type.promises.excused.get(rule.id):
            yield Result(rule.id, EXCUSED, reason)
        elif reason := rule.applies(node_type):
            yield Result(rule.id, NOT_APPLICABLE, reason)
        else:
            results = [_tried(rule, each, settings or {}, effort, seconds, seed) for each in types]
            failed = [result for result in results if result.status == FAILED]
            tried_ones = [result for result in results if result.status == OK]
            yield (failed or tried_ones or results)[0]
            if not failed and not tried_ones and results[0].text.startswith("every case was refused"):
                refused = results[0].text


def _tried(
    rule: Rule, node_type: NodeType[Any], settings: Mapping[str, Any], level: Level, seconds: float, seed: int
) -> Result:
    if rule.id == "C04":
        rule = seed_rule(node_type)
    cases = Cases(node_type, settings)
    return _Search(rule, node_type, level, seconds).run(cases.cases(rule.wants), seed)


def hold(rule: str, node_type: NodeType[Any], case: Case) -> None:
    """Hold a node to one rule on one case: what a printed failure calls.

    Raises:
      BrokenError: the rule is broken.
    """
    RULES[rule].check(Subject(node_type, case))


def contract(
    node_type: NodeType[Any],
    *,
    settings: Mapping[str, Any] | None = None,
    level: str = "quick",
    excused: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """A pytest test function with a test a rule: `test_contract = contract(chunker)`.

    Args:
      settings: those that are not to be drawn.
      excused: rules that are not to be kept here, with the reason, beside those that the node is excused from.
    """
    import pytest

    reasons = {**node_type.promises.excused, **(excused or {})}
    unknown = reasons.keys() - RULES.keys()
    if unknown:
        raise SettingError(f"there is no rule {', '.join(sorted(unknown))} to be excused from")

    @pytest.mark.parametrize("rule", list(RULES))
    def test_contract(rule: str) -> None:
        from flow.testing.reproduce import source

        if rule in reasons:
            pytest.skip(f"excused: {reasons[rule]}")
        level_of_one = {"settings": settings, "level": level, "rules": [rule]}
        for result in examine(node_type, **level_of_one):  # type: ignore[arg-type]
            if result.status == NOT_APPLICABLE:
                pytest.skip(f"does not apply: {result.text}")
            if result.status != OK:
                shown = "" if result.case is None else f"\n\n{source(node_type, result)}"
                pytest.fail(f"{rule} {RULES[rule].line}\n{result.status}: {result.text}{shown}", pytrace=False)

    return test_contract


__all__ = ["LEVELS", "Level", "Result", "contract", "examine", "hold"]
