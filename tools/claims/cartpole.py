"""CartPole is learned in minutes: mean return of the last 100 episodes, over seeds.

    python -m tools.claims.cartpole         three runs of some minutes each on two cores

Fails unless at every seed the last 100 episodes of the run have a mean return of `--least` (500 is the most there is,
475 is what Gymnasium calls solved), and the run took at most `--minutes`.
"""

from __future__ import annotations

import argparse
import sys

from tools.claims.seeds import judged, last_mean, run_seeds

LAST = 100


def main() -> int:
    """Run the seeds and judge them."""
    parser = argparse.ArgumentParser(prog="python -m tools.claims.cartpole", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--least", type=float, default=475.0, help="mean return [%(default)g]")
    parser.add_argument("--minutes", type=float, default=10.0, help="that a run may take [%(default)g]")
    parser.add_argument("--profile", help="of the graph, such as tiny")
    options = parser.parse_args()
    variant = ["--profile", options.profile] if options.profile else []
    runs = run_seeds("cartpole", options.seeds, *variant)
    values = [last_mean(run, "episode_return", LAST) for run in runs]
    return judged(runs, f"mean return of {LAST} episodes", values, options.least, options.minutes)


if __name__ == "__main__":
    sys.exit(main())
