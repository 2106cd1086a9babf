"""MuZero Reanalyze on Nim: old games planned anew with the newest network teach as much with fewer moves played.

    python -m tools.claims.muzero_reanalyze                  5 seeds, some 15 CPU minutes
    python -m tools.claims.muzero_reanalyze --seeds 0 -o docs/muzero_reanalyze.png

Both agents play the same few games a round, 8, and learn as often, 100 updates: far more updates a move than in
`tools.claims.muzero_nim`, so that what they lack is moves. One of them also plans 32 stored games anew each round, four
for each that it plays, so that their policies are what today's search says; values are outcomes and stay. After every
fifth round each gives a move, with 25 simulations, in the 102 positions that are won.

Moves to a share of blunders: those played when the mean of three examinations in a row first comes to it.
Fails unless Reanalyze needs fewer moves on the mean over seeds, at each share that the agents without it come to on
every seed.
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
from tools.claims.nim_selfplay import Learned, Training, ask, search_blunders, train
from tools.claims.picture import picture

GAMES, REFRESHED, AT, EVERY, IN_A_ROW = 8, 32, 25, 5, 3
SHARES = (0.6, 0.5, 0.4, 0.3)
NAMES = ("without", "Reanalyze")


@dataclass(frozen=True)
class Curve:
    """What an agent gave away, by moves played."""

    moves: tuple[int, ...]
    blunders: tuple[float, ...]

    def moves_to(self, share: float) -> int | None:
        """Moves played when the mean of three in a row first came to a share; None if it never did."""
        for end in range(IN_A_ROW, len(self.moves) + 1):
            if statistics.fmean(self.blunders[end - IN_A_ROW : end]) <= share:
                return self.moves[end - 1]
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
    blunders: list[float] = []
    rounds = 0

    def watch(played: int, served: Served) -> None:
        nonlocal rounds
        rounds += 1
        if rounds % EVERY == 0:
            moves.append(played)
            blunders.append(search_blunders(solution, Learned(served), AT))

    train(game_named("nim"), training, watch)
    return Curve(tuple(moves), tuple(blunders))


def checks(found: dict[str, list[Curve]]) -> dict[str, bool]:
    """What the claim says, and whether it held."""
    held = {}
    for share in SHARES:
        without, refreshed = ([each.moves_to(share) for each in found[name]] for name in NAMES)
        reached = [moves for moves in without if moves is not None]
        if len(reached) < len(without):
            continue
        ours = [moves for moves in refreshed if moves is not None]
        said = f"to {share:.0%} blunders Reanalyze needs fewer moves"
        if len(ours) < len(refreshed):
            held[f"{said}: it does not come there on every seed"] = False
        else:
            means = statistics.fmean(ours), statistics.fmean(reached)
            held[f"{said} ({means[0]:,.0f} against {means[1]:,.0f} on the mean)"] = means[0] < means[1]
    return held or {f"the agents without Reanalyze come to {SHARES[0]:.0%} blunders on every seed": False}


def print_seed(seed: int, curves: dict[str, Curve]) -> None:
    """Moves to each share, and what was given away at the end."""
    rows = []
    for name, each in curves.items():
        to = [each.moves_to(share) for share in SHARES]
        last = statistics.fmean(each.blunders[-IN_A_ROW:])
        rows.append(
            [name, *("-" if moves is None else f"{moves:,}" for moves in to), f"{last:.3f}", f"{each.moves[-1]:,}"]
        )
    report.table([f"seed {seed}: moves to", *(f"{share:.0%}" for share in SHARES), "at the end", "of moves"], rows)


def draw(found: dict[str, list[Curve]], path: Path) -> None:
    """Blunders over moves played."""
    title = f"MuZero with and without Reanalyze on three-heap Nim, {len(found[NAMES[0]])} seeds"
    with picture(path, title, "moves played", "won positions given away, %") as axes:
        for number, (name, curves) in enumerate(found.items()):
            for row, each in enumerate(curves):
                percent = [100 * share for share in each.blunders]
                axes.plot(each.moves, percent, color=f"C{number}", alpha=0.7, label=None if row else name)


if __name__ == "__main__":
    sys.exit(main())
