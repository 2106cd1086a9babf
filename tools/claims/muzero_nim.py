"""MuZero on Nim: search in a learned model is about as good as the same search with the rules, and better than none.

    python -m tools.claims.muzero_nim                  5 seeds, some 25 CPU minutes
    python -m tools.claims.muzero_nim --seeds 0 -o docs/muzero_nim.png

Three heaps of up to 3, 4 and 5 objects: 102 positions are won for the mover. Each seed learns from 4,800 games of
self-play with 25 simulations, then gives a move in each of the 102: by its policy alone, by search in its model, and by
the same search with the rules. `gain recovered` is (raw - model) / (raw - rules) at 50 simulations. Two controls learn
worse: an unroll of K = 1, and 3 simulations, fewer than the 12 moves there are.

Fails unless, over seeds: the model at 50 simulations gives away less than the policy alone on each, and a quarter less
on the mean; gain recovered is 0.65 or more on the mean, and 0.5 or less with K = 1; with 3 simulations 0.65 or more is
given away.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from nodes.games.interface import game_named
from nodes.games.solve import Solution, solve
from tools.claims import report
from tools.claims.nim_selfplay import Learned, Training, TrueRules, ask, raw_blunders, search_blunders, train
from tools.claims.picture import picture

SIMULATIONS = (1, 2, 5, 12, 25, 50, 100)
AT = 50


@dataclass
class Result:
    """Shares of the 102 won positions given away: by the policy alone, and by simulations with each simulator."""

    raw: float
    model: dict[int, float] = field(default_factory=dict)
    rules: dict[int, float] = field(default_factory=dict)

    @property
    def gain_recovered(self) -> float:
        """How much of what search with the rules gains over the policy, search in the model gains; 1 if nothing is to
        be gained."""
        whole = self.raw - self.rules[AT]
        return (self.raw - self.model[AT]) / whole if whole else 1.0


def main() -> int:
    """Train, print the tables, draw the picture; 1 unless all holds."""
    asked = ask(
        "muzero_nim", __doc__, rounds=150, a_round="32 games and 100 updates", picture="blunders over simulations"
    )
    solution = solve(game_named("nim"))
    plain = Training(0, rounds=asked.rounds)
    cases = {"K = 5": plain, "K = 1": replace(plain, unroll=1), "3 simulations": replace(plain, simulations=3)}
    found = {}
    for name, training in cases.items():
        found[name] = [result(solution, replace(training, seed=seed)) for seed in asked.seeds]
        print_table(name, asked.seeds, found[name])
    if asked.picture is not None:
        draw(found["K = 5"], asked.picture)
    return report.verdict(checks(found))


def result(solution: Solution, training: Training) -> Result:
    """Train one agent and examine it."""
    served = train(game_named("nim"), training)
    model, rules = Learned(served), TrueRules(served)
    return Result(
        raw_blunders(solution, served),
        {count: search_blunders(solution, model, count) for count in SIMULATIONS},
        {count: search_blunders(solution, rules, count) for count in SIMULATIONS},
    )


def checks(found: dict[str, list[Result]]) -> dict[str, bool]:
    """What the claim says, and whether it held."""
    main_, short, blind = found["K = 5"], found["K = 1"], found["3 simulations"]
    raw, model = (statistics.fmean(values) for values in ([r.raw for r in main_], [r.model[AT] for r in main_]))
    gain, gain_short = (statistics.fmean(r.gain_recovered for r in results) for results in (main_, short))
    least = min(r.raw for r in blind)
    return {
        "search in the model gives away less than the policy alone, on every seed": all(
            r.model[AT] < r.raw for r in main_
        ),
        f"and a quarter less on the mean ({model:.3f} against {raw:.3f})": model <= 0.75 * raw,
        f"gain recovered is 0.65 or more ({gain:.2f})": gain >= 0.65,
        f"with K = 1 it is 0.5 or less ({gain_short:.2f})": gain_short <= 0.5,
        f"with 3 simulations 0.65 or more is given away on every seed (least {least:.3f})": least >= 0.65,
    }


def print_table(name: str, seeds: list[int], results: list[Result]) -> None:
    """Blunders of each seed."""
    head = [f"{name}, seed", "policy", *(f"model {n}" for n in SIMULATIONS), *(f"rules {n}" for n in (25, AT))]
    rows = [
        [
            str(seed),
            f"{r.raw:.3f}",
            *(f"{r.model[n]:.3f}" for n in SIMULATIONS),
            *(f"{r.rules[n]:.3f}" for n in (25, AT)),
            f"{r.gain_recovered:.2f}",
        ]
        for seed, r in zip(seeds, results, strict=True)
    ]
    report.table([*head, "gain recovered"], rows)


def draw(results: list[Result], path: Path) -> None:
    """Blunders over simulations, with the learned model and with the rules: figure 3A in small."""
    with picture(
        path, f"MuZero on three-heap Nim, {len(results)} seeds", "simulations a move", "won positions given away, %"
    ) as axes:
        curves = {"learned model": [r.model for r in results], "the rules": [r.rules for r in results]}
        for number, (name, several) in enumerate(curves.items()):
            middle = [100 * statistics.fmean(each[n] for each in several) for n in SIMULATIONS]
            low, high = ([100 * pick(each[n] for each in several) for n in SIMULATIONS] for pick in (min, max))
            axes.fill_between(SIMULATIONS, low, high, alpha=0.12, linewidth=0, color=f"C{number}")
            axes.plot(SIMULATIONS, middle, marker="o", color=f"C{number}", label=f"search in {name}")
        raw = 100 * statistics.fmean(r.raw for r in results)
        axes.axhline(raw, color="0.5", linestyle="--", linewidth=1, label="policy alone")
        axes.set_xscale("log")
        axes.set_xticks(SIMULATIONS, [str(n) for n in SIMULATIONS])


if __name__ == "__main__":
    sys.exit(main())
