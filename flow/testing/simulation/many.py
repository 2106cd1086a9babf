"""Many simulated runs, in several processes, and what is wrong in any of them, shrunk to the faults that matter."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from flow.errors import MissingError, SettingError
from flow.graph import load_graph
from flow.graph.check import require_closed
from flow.testing.simulation.faults import Fault, Survey, draw_faults
from flow.testing.simulation.result import Result
from flow.testing.simulation.run import Case, Check, simulate_once

# Runs a process is given at once. The first of them is made twice, to see that it is the same.
_CHUNK = 25
FAILURES_MOST = 5
_SURVEY_SEED = 0


@dataclass(frozen=True)
class Request:
    """Which runs of which graph. kinds: of faults, none for none; check: "module:function" that looks at each run;
    failures: how many failing seeds are enough."""

    graph: Path
    profile: str | None = None
    sets: tuple[str, ...] = ()
    seed: int = 0
    runs: int = 100
    kinds: tuple[str, ...] = ()
    check: str | None = None
    jobs: int = 1
    seconds: float = 600.0
    failures: int = FAILURES_MOST


@dataclass(frozen=True)
class Failure:
    """A seed that went wrong. shrunk: the fewest of its faults with which it still does, as `result` shows."""

    seed: int
    faults: tuple[Fault, ...]
    result: Result


@dataclass
class Outcome:
    """What came of many runs. Times in seconds; digests, again: of runs that were made twice, by seed."""

    request: Request
    runs: int = 0
    messages: int = 0
    virtual_seconds: float = 0.0
    real_seconds: float = 0.0
    injected: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)
    again: dict[int, str] = field(default_factory=dict)
    interrupted: bool = False

    def add(self, result: Result) -> None:
        self.runs += 1
        self.messages += result.messages
        self.virtual_seconds += result.seconds
        self.injected += result.injected
        self.ended[result.outcome.partition(":")[0]] += 1

    def unlike(self) -> list[int]:
        """Seeds whose two runs were not the same."""
        return [seed for seed, digest in self.again.items() if self.digests.get(seed, digest) != digest]


class Runner:
    """Runs seeds of one request in this process."""

    def __init__(self, request: Request) -> None:
        graph = load_graph(request.graph, profile=request.profile, sets=list(request.sets))
        require_closed(graph)
        self.request = request
        self.case = Case(graph, _load_check(request.check), request.seconds)
        _import_needs({package for node in graph.nodes.values() for package in node.type.needs})
        # The first run also imports what nodes import when they run; it is no part of any result.
        self.first = simulate_once(self.case, _SURVEY_SEED)
        self.survey = Survey(self.first.counts)

    def faults(self, seed: int) -> tuple[Fault, ...]:
        """The faults of a seed."""
        kinds = self.request.kinds
        return draw_faults(Random(f"faults {seed}"), self.survey, kinds) if kinds else ()

    def run(self, seed: int, attempt: int = 0) -> Result:
        """A run of a seed; what only a failing one needs is left out."""
        result = simulate_once(self.case, seed, self.faults(seed), attempt=attempt)
        return replace(result, counts=Counter())

    def compare(self, seed: int) -> Result:
        """Run a seed twice and say where the second run differs from the first."""
        faults = self.faults(seed)
        first, second = (
            simulate_once(self.case, seed, faults, attempt=attempt, keep_events=True) for attempt in (0, 1)
        )
        return first.differing(second)

    def shrink(self, result: Result) -> Result:
        """The same seed with as few of its faults as still break one of the same rules."""
        rules = {violation.rule for violation in result.violations}
        smallest = result
        for fault in result.faults:
            fewer = tuple(each for each in smallest.faults if each is not fault)
            tried = simulate_once(self.case, result.seed, fewer)
            if rules & {violation.rule for violation in tried.violations}:
                smallest = tried
        return smallest


def _import_needs(packages: set[str]) -> None:
    """Import what a fork server would.

    Raises:
      MissingError: a package is not installed.
    """
    for package in sorted(packages):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise MissingError(f"the graph needs the package '{error.name}', which is not installed") from None
    torch = sys.modules.get("torch")
    if torch is not None:  # as a worker does; and runs are spread over processes already
        torch.set_num_threads(1)


def _load_check(name: str | None) -> Check | None:
    if name is None:
        return None
    module, _, function = name.partition(":")
    try:
        check: Check = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingError(
            f"--check {name}: expected module:function that takes a finished run, found {error}"
        ) from None
    return check


_runner: Runner | None = None


def _begin(request: Request) -> None:
    global _runner
    _runner = Runner(request)
    gc.freeze()


@contextmanager
def _frozen() -> Iterator[None]:
    """Each run is followed by a collection, which need not look at what was there before."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _chunk(seeds: Sequence[int], attempt: int) -> list[Result]:
    assert _runner is not None
    return [_runner.run(seed, attempt) for seed in seeds]


def simulate(request: Request, progress: Callable[[Outcome], None] = lambda outcome: None) -> Outcome:
    """Run seeds `seed` to `seed + runs - 1`, until so many of them have failed as are enough.

    Raises:
      GraphError: the graph is wrong.
      SettingError: there is no such check.
    """
    began = time.perf_counter()
    runner = Runner(request)
    outcome = Outcome(request)
    if runner.first.violations:  # what goes wrong with nothing injected would go wrong in all of them
        outcome.add(runner.first)
        outcome.failures.append(Failure(_SURVEY_SEED, (), runner.first))
        return outcome
    failed: list[Result] = []
    with _frozen(), closing(_results(request, runner)) as results:
        try:
            for result, attempt in results:
                _take(outcome, result, attempt, failed)
                outcome.real_seconds = time.perf_counter() - began
                progress(outcome)
                if len(failed) >= request.failures:
                    break
        except KeyboardInterrupt:
            outcome.interrupted = True
        failed += [_unlike(runner, seed) for seed in outcome.unlike()]
        for result in failed[: request.failures]:
            outcome.failures.append(Failure(result.seed, result.faults, runner.shrink(result)))
    outcome.real_seconds = time.perf_counter() - began
    return outcome


def _results(request: Request, runner: Runner) -> Generator[tuple[Result, int], None, None]:
    """Each result, with the attempt that it is, in the order in which they come."""
    if request.jobs == 1:
        for seeds, attempt in _chunks(request):
            for seed in seeds:
                yield runner.run(seed, attempt), attempt
        return
    # Not forked: each has another order of hashes, so that what depends on it is found.
    context = multiprocessing.get_context("spawn")
    chunks = _chunks(request)
    under_way: dict[Future[list[Result]], int] = {}
    with ProcessPoolExecutor(request.jobs, context, _begin, (request,)) as pool:
        try:
            while True:
                while len(under_way) <= request.jobs and (chunk := next(chunks, None)) is not None:
                    under_way[pool.submit(_chunk, *chunk)] = chunk[1]
                if not under_way:
                    return
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    attempt = under_way.pop(future)
                    for result in future.result():
                        yield result, attempt
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _chunks(request: Request) -> Iterator[tuple[Sequence[int], int]]:
    """Seeds to run with the attempt; the first of each chunk is run a second time, later and so perhaps elsewhere."""
    before: int | None = None
    for start in range(request.seed, request.seed + request.runs, _CHUNK):
        yield range(start, min(start + _CHUNK, request.seed + request.runs)), 0
        if before is not None:
            yield [before], 1
        before = start
    if before is not None:
        yield [before], 1


def _take(outcome: Outcome, result: Result, attempt: int, failed: list[Result]) -> None:
    if attempt:
        outcome.again[result.seed] = result.digest
        return
    outcome.add(result)
    if (result.seed - outcome.request.seed) % _CHUNK == 0:
        outcome.digests[result.seed] = result.digest
    if result.violations:
        failed.append(result)


def _unlike(runner: Runner, seed: int) -> Result:
    """A seed whose two runs were not the same: where they part."""
    compared = runner.compare(seed)
    if compared.violations:
        return compared
    return compared.with_violation(
        "not the same run",
        "two processes gave different runs of this seed, and one process gives the same twice: something depends on "
        "the order of a set or on what else the process did",
    )
