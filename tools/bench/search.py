"""Measure the bare tree search, no network: simulations a second beside mctx on the CPU and a tree of plain Python.

    python -m tools.bench.search                           a minute and a half
    python -m tools.bench.search --batches 64 --actions 6
    python -m tools.bench.search --cpu                     a second of CPU time: where others use the machine too

All search the same random model, a table of 64 states, with the same constants; a simulation of a batch of B counts B
times. mctx is compiled before any clock runs. Plain Python is the oracle of our tests, one object an edge.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np

from flow.errors import MissingError
from nodes.algo.puct import Kernel, Rules, kernel_named
from tests.nodes.algo.random_models import Table, random_table, search, slow_search
from tools.bench.table import Figures, interleaved, print_table

STATES = 64
RULES = Rules(discount=0.997)
PLAIN_TARGET = 20.0


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.search", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds, A B A B (default 3)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement (default 0.5)")
    parser.add_argument("--simulations", type=int, default=50, help="of a search (default 50)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--actions", type=int, nargs="+", default=[6, 362])
    parser.add_argument("--cpu", action="store_true", help="count CPU time of all threads, not time on the wall")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    figures = Figures()
    cases = [
        case
        for actions in options.actions
        for batch in options.batches
        for case in cases_of(figures, batch, actions, options.simulations, partial(per_second, clock, options.seconds))
    ]
    interleaved(options.rounds, cases)
    for actions in options.actions:
        for batch in options.batches:
            where = f"{actions} actions, batch {batch}"
            for name in ("mctx", "plain Python"):
                target = PLAIN_TARGET if name != "mctx" and batch == 64 else 1.0
                figures.relate(f"{where}: compiled over {name}", "1/s", f"{where}: {name}", target=target)
            figures.relate(f"{where}: numpy", "1/s", f"{where}: mctx")
    print_table(figures, ("flow-research", "numpy", "numba", "mctx", "jax"))


def cases_of(
    figures: Figures, batch: int, actions: int, simulations: int, rate_of: Callable[[Callable[[], object], int], float]
) -> list[Callable[[], None]]:
    """What is measured at one size."""
    table = random_table(np.random.default_rng(0), STATES, actions)
    roots = np.arange(batch) % STATES
    legal = np.ones((batch, actions), bool)

    def ours(kernel: Kernel) -> Callable[[], object]:
        return lambda: search(table, roots, legal, simulations, RULES, kernel)

    def plain() -> None:
        slow_search(table, 0, legal[0], simulations, RULES)

    compiled, peer = ours(kernel_named("numba")), mctx_search(table, roots, simulations)
    where = f"{actions} actions, batch {batch}"

    def measure() -> None:
        rate = rate_of(compiled, batch * simulations)
        # Twice the same figure: each stands beside one peer.
        figures.add(f"{where}: compiled over mctx", "1/s", rate)
        figures.add(f"{where}: mctx", "1/s", rate_of(peer, batch * simulations))
        figures.add(f"{where}: compiled over plain Python", "1/s", rate)
        figures.add(f"{where}: plain Python", "1/s", rate_of(plain, simulations))
        figures.add(f"{where}: numpy", "1/s", rate_of(ours(kernel_named("numpy")), batch * simulations))

    return [measure]


def per_second(clock: Callable[[], float], seconds: float, work: Callable[[], object], count: int) -> float:
    """How many a second, each call doing `count`; the first call warms up."""
    work()
    began, calls = clock(), 0
    while (took := clock() - began) < seconds or not calls:
        work()
        calls += 1
    return calls * count / took


def mctx_search(table: Table, roots: np.ndarray, simulations: int) -> Callable[[], object]:
    """mctx's `muzero_policy` on the same model, without noise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import jax
            import jax.numpy as jnp
            import mctx
        except ImportError:
            raise MissingError("mctx is not installed; pip install 'flow-research[dev]'") from None
    to, reward = jnp.asarray(table.to, jnp.int32), jnp.asarray(table.reward, jnp.float32)
    logits, value = jnp.log(jnp.asarray(table.prior)), jnp.asarray(table.value, jnp.float32)

    def step(parameters: object, key: object, action: jax.Array, state: jax.Array) -> tuple[object, jax.Array]:
        after = to[state, action]
        discount = jnp.full(len(roots), RULES.discount, jnp.float32)
        paid = reward[state, action]
        return mctx.RecurrentFnOutput(
            reward=paid, discount=discount, prior_logits=logits[after], value=value[after]
        ), after

    @jax.jit
    def run(key: jax.Array, at: jax.Array) -> jax.Array:
        root = mctx.RootFnOutput(prior_logits=logits[at], value=value[at], embedding=at)
        found = mctx.muzero_policy((), key, root, step, simulations, dirichlet_fraction=0.0)
        weights: jax.Array = found.action_weights
        return weights

    key, at = jax.random.PRNGKey(0), jnp.asarray(roots, jnp.int32)
    return lambda: run(key, at).block_until_ready()


if __name__ == "__main__":
    main()
