"""Plans moves by MuZero's search in a learned model (arXiv:1911.08265).

    positions ──► a tree each, all grown in step ──► visits, values
                     │ leaves ▲ evaluations
                     ▼        │
                       model

The rules are known at the root alone, as its legal moves. A simulation is one question for all positions of a batch, so
the model computes for as many positions as ask at once; their hidden states stay with it (`nodes.serve.muzero`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import trio

from flow import Array, Call, Context, Promises, Range, Serve, compute, node
from flow.errors import FlowError, MessageError, PeerRestarted
from nodes.algo.puct import Kernel, Rules, Trees, kernel_named
from nodes.algo.root import priors_of, with_noise
from nodes.games.messages import Evaluations, Plans, Positions, Roots, Steps

TRIES = 3


@node(promises=Promises(given="nodes.given.learning:planner"))
async def planner(
    requests: Serve[Positions, Plans],
    roots: Call[Roots, Evaluations],
    steps: Call[Steps, Evaluations],
    context: Context,
    *,
    simulations: Annotated[int, Range(1, 100_000)],
    discount: Annotated[float, Range(0, 1)] = 1.0,
    two_players: bool = True,
    known_bounds: bool = False,
    c1: Annotated[float, Range(0)] = 1.25,
    c2: Annotated[float, Range(1)] = 19652.0,
    noise_alpha: Annotated[float, Range(0.0001)] = 0.3,
    noise_share: Annotated[float, Range(0, 1)] = 0.25,
    positions_max: Annotated[int, Range(1, 65536)] = 256,
    searches: Annotated[int, Range(1, 16)] = 1,
    kernel: Literal["auto", "numpy", "numba"] = "auto",
) -> None:
    """Search every position that is asked about, all that wait at once, and answer with the visits of its moves.

    Args:
      simulations: nodes that each tree grows by.
      discount: γ.
      two_players: players alternate, and one's value is the other's loss.
      known_bounds: values lie between -1 and 1; if not set, what each tree has seen normalises them, as in the paper.
      c1: of pUCT.
      c2: of pUCT.
      noise_alpha: of the Dirichlet noise at roots that are to be explored.
      noise_share: how much of a root's prior it is there.
      positions_max: positions in one search.
      searches: how many searches are under way at once: while one waits for the model another selects.
      kernel: what runs the loops of the trees; "auto" is numba where it is installed.
    """
    rules = Rules(-discount if two_players else discount, c1, c2, (-1.0, 1.0) if known_bounds else None)
    loops = kernel_named(kernel)
    await compute(_compile, loops)
    name = zlib.crc32(f"{context.name} {context.replica} {context.incarnation}".encode())
    rng = np.random.default_rng((context.seed, context.incarnation))

    async def serve(number: int) -> None:
        first_slot = number * positions_max * (simulations + 1)
        search = Search(rules, simulations, loops, name, first_slot, noise_alpha, noise_share, rng)
        async for batch in requests.batches(most=positions_max, buckets=()):
            batch.answer(await search.plan(batch.questions, roots, steps))
            context.metrics.count("simulations", simulations * batch.rows)
            context.metrics.gauge("positions_in_search", batch.rows)

    async with trio.open_nursery() as nursery:
        for number in range(searches):
            nursery.start_soon(serve, number)


def _compile(kernel: Kernel) -> None:
    """Compiled loops take seconds at their first call, which would hold up the loop of the worker."""
    trees = Trees(np.full((1, 2), 0.5, np.float32), 1, Rules(1.0), kernel)
    trees.select()
    trees.expand(np.zeros(1), np.full((1, 2), 0.5, np.float32), np.zeros(1))


class LostTree(FlowError):
    """The model that kept a search's hidden states is not the one that answers."""


@dataclass
class Search:
    """One search after another.

    planner: a name of its own among all that ask the model. first_slot: where its hidden states begin among those that
    the model keeps for that name.
    """

    rules: Rules
    simulations: int
    kernel: Kernel
    planner: int
    first_slot: int
    noise_alpha: float
    noise_share: float
    rng: np.random.Generator

    async def plan(self, asked: Positions, roots: Call[Roots, Evaluations], steps: Call[Steps, Evaluations]) -> Plans:
        """Search some positions; begin again where the model is started again meanwhile.

        Raises:
          LostTree: it was not the same model three times in a row.
          MessageError: a position without a legal move.
        """
        stuck = np.flatnonzero(~asked.legal.any(1))
        if stuck.size:
            raise MessageError(
                f"row {stuck[0]} of a question has no legal move, so there is nothing to plan; ask about games that "
                "are not over"
            )
        for _ in range(TRIES):
            try:
                return await self._search(asked, roots, steps)
            except (PeerRestarted, LostTree):
                continue
        raise LostTree(
            f"in {TRIES} searches the model that answered was not the one that keeps their hidden states; "
            "a model has one replica: set replicas = 1 for it"
        )

    async def _search(
        self, asked: Positions, roots: Call[Roots, Evaluations], steps: Call[Steps, Evaluations]
    ) -> Plans:
        rows = np.arange(len(asked.legal))
        trees_slots = self.first_slot + rows * (self.simulations + 1)
        planners = np.full(len(rows), self.planner)
        # A copy: what is sent is frozen, and the next questions are gathered into the memory of these.
        root = await roots(Roots(asked.observations.copy(), planners, trees_slots))
        plain = priors_of(root.logits, asked.legal)
        noisy = with_noise(plain, asked.noisy, self.noise_alpha, self.noise_share, self.rng)
        trees = Trees(noisy, self.simulations, self.rules, self.kernel)
        while not trees.full:
            parents, actions = trees.select()
            asked_step = Steps(planners, trees_slots + parents, actions.astype(np.int64), trees_slots + trees.size)
            found = await steps(asked_step)
            if found.epoch != root.epoch:
                raise LostTree
            trees.expand(found.rewards, priors_of(found.logits), found.values)
        return plans_of(trees, plain, root.version)


def plans_of(trees: Trees, priors: Array, version: int) -> Plans:
    """What a finished search found. priors: (B, A) of the roots, without noise."""
    values = trees.root_values().astype(np.float32)
    return Plans(trees.root_visits(), values, np.maximum(priors, 0), version)
