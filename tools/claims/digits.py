"""The digits are told apart: accuracy on what was held out, over seeds.

    python -m tools.claims.digits           two minutes on two cores
    python -m tools.claims.digits --seeds 1 2 3 4 5 6 7 8 9 10

Fails unless every seed gets `--least` of the held-out pictures right within `--minutes`.
"""

from __future__ import annotations

import argparse
import sys

from tools.claims.seeds import judged, last_gauge, run_seeds


def main() -> int:
    """Run the seeds and judge them."""
    parser = argparse.ArgumentParser(prog="python -m tools.claims.digits", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, default=40, help="of each run [%(default)d]")
    parser.add_argument("--least", type=float, default=0.95, help="accuracy [%(default)g]")
    parser.add_argument("--minutes", type=float, default=2.0, help="that a run may take [%(default)g]")
    options = parser.parse_args()
    runs = run_seeds("digits", options.seeds, "--set", f"epochs={options.epochs}")
    values = [last_gauge(run, "test_accuracy") for run in runs]
    return judged(runs, "test_accuracy", values, options.least, options.minutes)


if __name__ == "__main__":
    sys.exit(main())
