"""Measure the whole LASER loop on Pong: environment steps a second, and CPU-ms a step over all its workers.

    python -m tools.bench.loop                                      a few minutes
    python -m tools.bench.loop --rounds 1 --seconds 6 --shares 0    the main figure alone

A replay share of 0 is one learner pass for each online frame, 1/2 is two and 7/8 is eight. The peer is a
synchronous PPO loop as CleanRL writes it, with its four epochs and with one; its network is the larger Nature-CNN.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tools.bench.laser import laser_run
from tools.bench.table import Figures, interleaved, print_table

STEPS_TARGET, CPU_TARGET = 1500.0, 1.3
WARM_S = 3.0


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.loop", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="rounds, A B A B (default 2)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement (default 8)")
    parser.add_argument("--lanes", type=int, default=32, help="games (default 32)")
    parser.add_argument("--shares", default="0,0.5,0.875", help='replay shares (default "0,0.5,0.875")')
    parser.add_argument("--epochs", default="4,1", help='of the PPO loop, "" for none (default "4,1")')
    options = parser.parse_args()
    figures = Figures()
    cases = [
        *(lambda share=share: flow_case(figures, float(share), options) for share in options.shares.split(",")),
        *(lambda epochs=epochs: ppo_case(figures, epochs, options) for epochs in options.epochs.split(",") if epochs),
    ]
    interleaved(options.rounds, cases)
    figures.hold(label(0.0), "steps/s", STEPS_TARGET)
    figures.hold(label(0.0), "CPU-ms", CPU_TARGET, at_least=False)
    for epochs in ("4", "1"):
        figures.relate(f"PPO, {epochs} epochs", "steps/s", label(0.0))
        figures.relate(f"PPO, {epochs} epochs", "CPU-ms", label(0.0))
    print_table(figures, ("flow-research", "torch", "ale-py", "trio", "pyzmq", "numpy"))


def label(share: float) -> str:
    """How the table names a loop."""
    return f"LASER, replay share {share:g}"


def flow_case(figures: Figures, share: float, options: argparse.Namespace) -> None:
    """One run, measured from when it has made frames for a while."""
    ran = laser_run(share, {"minutes": 3}, lanes=options.lanes, steady=("frames", options.seconds + WARM_S))
    frames, wall, cpu = ran.between("frames", WARM_S)
    figures.add(label(share), "steps/s", frames / 4 / wall)
    figures.add(label(share), "CPU-ms", 1000 * cpu / (frames / 4))


def ppo_case(figures: Figures, epochs: str, options: argparse.Namespace) -> None:
    """One run of the peer."""
    command = [sys.executable, "-m", "tools.bench.ppo_peer", "--epochs", epochs, "--seconds", str(options.seconds)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rate, cpu = (float(word) for word in out.split()[-2:])
    figures.add(f"PPO, {epochs} epochs", "steps/s", rate)
    figures.add(f"PPO, {epochs} epochs", "CPU-ms", cpu)


if __name__ == "__main__":
    main()
