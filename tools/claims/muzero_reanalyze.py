"""MuZero Reanalyze on Nim: old games planned anew with the newest network teach as much with fewer moves played.

    python -m tools.claims.muzero_reanalyze                  5 seeds, some 15 CPU minutes
    python -m tools.claims.muzero_reanalyze --seeds 0 -o docs/muzero_reanalyze.png

Both agents play the same few games a round, 8, and learn as often, 100 updates: far more updates a move than in
`tools.claims.muzero_nim`, so that what they lack is moves, and what they learn from has been there for long. One of
them also plans 32 stored games anew each round, four for each that it plays, so that four fifths of the policies that
it learns are what its search said later than when it played; values are outcomes and stay. After every fifth round each
gives a move in the 102 positions that are won, by search with 25 simulations and by its policy alone.

What is compared are the moves played when the mean of three examinations in a row first comes to a share of blunders:
to the least that the agents without Reanalyze come to on every seed. Fails unless Reanalyze comes there on every seed,
with fewer moves on the mean; by search, and by the policy alone.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from nodes.games.interface import game_named
from nodes.games.solve import Solution, solve
from nodes.serve.muzero import Served
from tools.claims import report
from tools.claims.nim_selfplay import Learned, Training, ask, raw_blunders, search_blunders, train
from tools.claims.picture import picture

GAMES, REFRESHED, AT, EVERY, IN_A_ROW = 8, 32, 25, 5, 3
SHARES = (0.7, 0.6, 0.5)
NAMES = ("without", "Reanalyze")
BY = ("search", "policy")


@dataclass(frozen=True)
class Curve:
    """What an agent gave away, by moves played: by its search, and by its policy alone."""

    moves: tuple[int, ...]
    search: tuple[float, ...]
    policy: tuple[float, ...]

    def means(self, by: str) -> list[float]:
        """Of three examinations in a row, from the third on."""
        given: tuple[float, ...] = getattr(self, by)
        return [statistics.fmean(given[end - IN_A_ROW : end]) for end in range(IN_A_ROW, len(given) + 1)]

    def moves_to(self, share: float, by: str) -> int | None:
        """Moves played when the mean first came to a share; None if it never did."""
        for moves, mean in zip(self.moves[IN_A_ROW - 1 :], self.means(by), strict=True):
            if mean <= share:
                return moves
        return None


def main() -> int:
    """Train, print the table, draw the picture; 1 unless all holds."""
    asked = ask(
        "muzero_reanalyze",
        __doc__,
        rounds=90,
        a_round="8 games and 100 updates",
        picture="blunders over moves played",
    )
    if asked.rounds < EVERY * IN_A_ROW:
        raise SystemExit(
            f"--rounds {asked.rounds} is too few: an agent is examined after every {EVERY} rounds, and the mean of "
            f"{IN_A_ROW} examinations is what is compared; give {EVERY * IN_A_ROW} or more"
        )
    solution = solve(game_named("nim"))
    plain = Training(0, rounds=asked.rounds, games=GAMES)
    found: dict[str, list[Curve]] = {name: [] for name in NAMES}
    for seed in asked.seeds:
        for name, refreshed in zip(NAMES, (0, REFRESHED), strict=True):
            found[name].append(curve(solution, replace(plain, seed=seed, refreshed=refreshed)))
        print_seed(seed, {name: curves[-1] for name, curves in found.items()})
    if asked.picture is not None:
        draw(found, asked.picture)
    return report.verdict(checks(found))


def curve(solution: Solution, training: Training) -> Curve:
    """Train one agent, examining it on the way."""
    moves: list[int] = []
    search: list[float] = []
    policy: list[float] = []
    rounds = 0

    def watch(played: int, served: Served) -> None:
        nonlocal rounds
        rounds += 1
        if rounds % EVERY == 0:
            moves.append(played)
            search.append(search_blunders(solution, Learned(served), AT))
            policy.append(raw_blunders(solution, served))

    train(game_named("nim"), training, watch)
    return Curve(tuple(moves), tuple(search), tuple(policy))


def checks(found: dict[str, list[Curve]]) -> dict[str, bool]:
    """What the claim says, and whether it held."""
    held = {}
    without, refreshed = (found[name] for name in NAMES)
    for by in BY:
        share = max(min(each.means(by)) for each in without)
        theirs, ours = ([each.moves_to(share, by) for each in curves] for curves in (without, refreshed))
        came = [moves for moves in ours if moves is not None]
        said = f"by {by}, to {share:.1%} blunders Reanalyze needs fewer moves"
        if len(came) < len(ours):
            held[f"{said}: it does not come there on {len(ours) - len(came)} of {len(ours)} seeds"] = False
        else:
            means = statistics.fmean(came), statistics.fmean(moves for moves in theirs if moves is not None)
            held[f"{said} ({means[0]:,.0f} against {means[1]:,.0f} on the mean)"] = means[0] < means[1]
    return held


def print_seed(seed: int, curves: dict[str, Curve]) -> None:
    """Moves to each share, and what was given away at the end."""
    rows = []
    for name, each in curves.items():
        for by in BY:
            to = [each.moves_to(share, by) for share in SHARES]
            came = ["-" if moves is None else f"{moves:,}" for moves in to]
            rows.append([f"{name}, {by}", *came, f"{each.means(by)[-1]:.3f}", f"{each.moves[-1]:,}"])
    report.table([f"seed {seed}: moves to", *(f"{share:.0%}" for share in SHARES), "at the end", "of moves"], rows)


def draw(found: dict[str, list[Curve]], path: Path) -> None:
    """Blunders over moves played."""
    title = f"MuZero with and without Reanalyze on three-heap Nim, {len(found[NAMES[0]])} seeds"
    with picture(path, title, "moves played", "won positions given away, %") as axes:
        for number, (name, curves) in enumerate(found.items()):
            for by, line in zip(BY, ("-", ":"), strict=True):
                for row, each in enumerate(curves):
                    percent = [100 * share for share in getattr(each, by)]
                    label = None if row else f"{name}, by {by}"
                    axes.plot(each.moves, percent, line, color=f"C{number}", alpha=0.7, label=label)


if __name__ == "__main__":
    sys.exit(main())
