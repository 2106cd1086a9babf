"""LASER, learned: a little online data rescues learning from other agents' replay, and replay saves data.

    python -m tools.claims.laser_t2 [--quick]

Catch, 400 updates of 32 unrolls; b = ∞, so that mixing stands alone. In the first table the replay holds
only frozen agents that avoid the ball, or also ones that always go left or right; α is the online share.
In the second an agent replays its own past beside 4 fresh unrolls, and is compared with 4 fresh ones alone.
"""

from __future__ import annotations

import math
import statistics
import sys

import torch

from nodes.algo.laser import laser_loss
from tools.claims import report
from tools.claims.catch import DISCOUNT, Agent, Catch, Play, Policy, join, mean_return, pick, play, toward

BATCH, UPDATES = 32, 400
PEAKED = math.log(0.96 / 0.02)  # in logits: 96 % on one of three actions
RUNS_AWAY = toward(-PEAKED)
LEFT, RIGHT = toward(0.0, (PEAKED, 0.0, 0.0)), toward(0.0, (0.0, 0.0, PEAKED))
CASES = {"α=0": (0, 32), "α=1/8": (4, 28), "α=1/2": (16, 16), "online only": (4, 0)}


def main() -> int:
    """Print both tables; 1 unless every pair of seeds agrees with the paper."""
    quick = report.ask("LASER, learned: mixing online data into replay, on Catch")
    updates = 20 if quick else UPDATES
    seeds = range(2 if quick else 5)
    checks = {}
    rows = []
    online = [learn(seed, *CASES["online only"], None, updates)[-1] for seed in seeds]
    for name, policies in {"1 alien": [RUNS_AWAY], "3 aliens": [RUNS_AWAY, LEFT, RIGHT]}.items():
        final = {"online only": online}
        for case in ("α=0", "α=1/8", "α=1/2"):
            final[case] = [learn(seed, *CASES[case], policies, updates)[-1] for seed in seeds]
        rows.append([name, *(report.spread(final[case]) for case in CASES)])
        gains = [a - b for a in final["α=1/8"] for b in final["α=0"]]
        over = [a - b for a in final["α=1/8"] for b in online]
        checks[f"{name}: α=1/8 beats α=0 by 0.25, any seed with any ({min(gains):+.2f})"] = min(gains) >= 0.25
        checks[f"{name}: α=1/8 beats online only, any seed with any ({min(over):+.2f})"] = min(over) > 0
    report.table(["final return", *CASES], rows)
    return report.verdict({**checks, **own_replay(range(2 if quick else 6), updates)})


def own_replay(seeds: range, updates: int) -> dict[str, bool]:
    """Compare an agent that replays its own past with one that does not, at equal online data."""
    curves = {
        "online": [learn(seed, 4, 0, None, updates) for seed in seeds],
        "own replay 7/8": [learn(seed, 4, 28, None, updates) for seed in seeds],
    }
    areas = {name: [statistics.fmean(curve) for curve in several] for name, several in curves.items()}
    report.table(
        ["", "area under the curve", "final return"],
        [
            [name, report.spread(areas[name]), report.spread([curve[-1] for curve in several])]
            for name, several in curves.items()
        ],
    )
    gain = statistics.fmean(areas["own replay 7/8"]) - statistics.fmean(areas["online"])
    error = math.sqrt(sum(statistics.variance(area) / len(area) for area in areas.values()))
    return {f"own replay saves data: area larger by 5 standard errors ({gain / error:.1f})": gain >= 5 * error}


def learn(seed: int, online: int, replayed: int, aliens: list[Policy] | None, updates: int) -> list[float]:
    """Train one agent; its return every 20 updates, the last at the end.

    Args:
      seed: of everything.
      online, replayed: unrolls of each kind in a batch.
      aliens: whose unrolls the replay holds; None is the agent's own, all of them so far.
      updates: how many.
    """
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    agent = Agent()
    optimiser = torch.optim.RMSprop(agent.parameters(), lr=1e-3, alpha=0.99, eps=1e-3)
    catch = Catch(online, draw)
    stored: Play | None = None
    if aliens is not None:
        for alien in aliens:
            stored = _add(stored, play(Catch(512 // len(aliens), draw), alien))
    curve = []
    for update in range(1, updates + 1):
        fresh = play(catch, agent.act) if online else None
        old = pick(stored, replayed, draw) if replayed and stored is not None else None
        batch = join(fresh, old)
        logits, value = agent(batch.seen)
        loss = laser_loss(logits, value, batch.unrolls, discount=DISCOUNT, trust=math.inf)
        optimiser.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if aliens is None and replayed and fresh is not None:
            stored = _add(stored, fresh)
        if update % 20 == 0:
            curve.append(mean_return(agent.act, draw))
    return curve


def _add(stored: Play | None, fresh: Play) -> Play:
    return fresh if stored is None else join(stored, fresh)


if __name__ == "__main__":
    sys.exit(main())
