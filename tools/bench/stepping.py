"""Measure what the actor adds to the emulator: the real actor node, a policy that costs nothing, and a sink.

    python -m tools.bench.stepping

Beside it in the same rounds: AtariVectorEnv stepped in bare loops, with the same lanes, groups and threads.
CPU is of all processes, a step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time

import numpy as np

from tools.bench.running import edge, go, node
from tools.bench.table import Figures, interleaved, print_table

GAME, ACTIONS = "pong", 6
TARGET = 0.9
WARM_S = 1.0


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.stepping", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds, A B A B (default 3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default 5)")
    parser.add_argument("--lanes", type=int, default=32, help="games (default 32)")
    parser.add_argument("--threads", type=int, default=1, help="C++ threads of a group (default 1)")
    parser.add_argument("--bare", action="store_true", help="only the bare loop; prints steps/s and CPU-us")
    options = parser.parse_args()
    if options.bare:
        print(*bare_loop(options.lanes, options.threads, options.seconds))
        return
    figures = Figures()
    apart, together = {"actor": ["actor", "sink"], "policy": ["policy"]}, {"all": ["actor", "sink", "policy"]}
    interleaved(
        options.rounds,
        [
            lambda: flow_case(figures, "flow, policy in another worker", apart, options),
            lambda: flow_case(figures, "flow, one worker", together, options),
            lambda: bare_case(figures, options),
        ],
    )
    for name in ("flow, policy in another worker", "flow, one worker"):
        figures.relate(name, "steps/s", "bare AtariVectorEnv", target=TARGET)
        figures.relate(name, "CPU-us", "bare AtariVectorEnv")
    print_table(figures, ("flow-research", "ale-py", "trio", "pyzmq", "numpy"))


def flow_case(figures: Figures, name: str, places: dict[str, list[str]], options: argparse.Namespace) -> None:
    """One run."""
    nodes = [
        node("actor", "nodes.env.atari:actor", game=GAME, lanes=options.lanes, threads=options.threads),
        node("policy", "random_policy", actions=ACTIONS),
        node("sink", "trajectory_sink"),
    ]
    edges = [edge("actor.policy", "policy.requests"), edge("actor.trajectories", "sink.trajectories")]
    ran = go(nodes, edges, places, {"minutes": 2}, steady=("frames", options.seconds + WARM_S))
    # The actor's frames, four a step: they move with each step, where the sink's count moves with each unroll.
    frames, wall, cpu = ran.between("frames", WARM_S)
    figures.add(name, "steps/s", frames / 4 / wall)
    figures.add(name, "CPU-us", 1e6 * cpu / (frames / 4))


def bare_case(figures: Figures, options: argparse.Namespace) -> None:
    """The bare loop, in a process of its own."""
    words = ["--bare", "--lanes", options.lanes, "--threads", options.threads, "--seconds", options.seconds]
    command = [sys.executable, "-m", "tools.bench.stepping", *map(str, words)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rate, cpu = (float(word) for word in out.split()[-2:])
    figures.add("bare AtariVectorEnv", "steps/s", rate)
    figures.add("bare AtariVectorEnv", "CPU-us", cpu)


def bare_loop(lanes: int, threads: int, seconds: float) -> tuple[float, float]:
    """Steps a second and CPU-us a step of two groups, each stepped by a thread with random actions."""
    from ale_py.vector_env import AtariVectorEnv  # the runs above do not need it in this process

    steps = [0, 0]
    over = threading.Event()

    def play(group: int) -> None:
        env = AtariVectorEnv(GAME, lanes // 2, num_threads=threads, noop_max=30, reward_clipping=False)
        dice = np.random.default_rng(group)
        env.reset(seed=group)
        while not over.is_set():
            env.step(dice.integers(ACTIONS, size=lanes // 2))
            steps[group] += lanes // 2

    players = [threading.Thread(target=play, args=(group,)) for group in range(2)]
    for player in players:
        player.start()
    while not all(steps):  # opening the emulators takes its time
        time.sleep(0.1)
    time.sleep(WARM_S)
    before, began, cpu = sum(steps), time.perf_counter(), time.process_time()
    time.sleep(seconds)
    done, wall, cpu = sum(steps) - before, time.perf_counter() - began, time.process_time() - cpu
    over.set()
    for player in players:
        player.join()
    return done / wall, 1e6 * cpu / done


if __name__ == "__main__":
    main()
