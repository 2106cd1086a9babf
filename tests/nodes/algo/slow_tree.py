"""MuZero's search written from the equations of appendix B, one object an edge: the oracle, and the bench's peer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

Model = Callable[[object, int], tuple[float, object, list[float], float]]
"""(state, action) to reward, next state, its priors (negative: no such action) and its value."""


@dataclass
class Edge:
    prior: float
    visits: int = 0
    q: float = 0.0
    reward: float = 0.0
    to: State | None = None


@dataclass
class State:
    hidden: object
    edges: list[Edge]


@dataclass
class Search:
    """One tree. gamma: discount; two_players: whether whoever moves alternates."""

    gamma: float
    two_players: bool
    c1: float = 1.25
    c2: float = 19652.0
    bounds: tuple[float, float] | None = None
    low: float = math.inf
    high: float = -math.inf
    returns: list[float] = field(default_factory=list)

    def run(self, hidden: object, priors: list[float], model: Model, simulations: int) -> State:
        root = State(hidden, [Edge(p) for p in priors])
        for _ in range(simulations):
            self.simulate(root, model)
        return root

    def simulate(self, root: State, model: Model) -> None:
        path: list[Edge] = []
        state: State = root
        while True:
            edge = state.edges[self.best(state)]
            path.append(edge)
            if edge.to is None:
                break
            edge, state = edge, edge.to
        action = state.edges.index(edge)
        edge.reward, hidden, priors, value = model(state.hidden, action)
        edge.to = State(hidden, [Edge(p) for p in priors])
        sign = -1.0 if self.two_players else 1.0
        g = value  # of who moves at the new state
        for edge in reversed(path):
            g = edge.reward + self.gamma * sign * g
            edge.q = (edge.visits * edge.q + g) / (edge.visits + 1)
            edge.visits += 1
            self.low, self.high = min(self.low, edge.q), max(self.high, edge.q)
        self.returns.append(g)

    def best(self, state: State) -> int:
        total = sum(edge.visits for edge in state.edges)

        def score(edge: Edge) -> tuple[float, float]:
            if edge.prior < 0:
                return (-math.inf, 0.0)
            bonus = math.sqrt(total) / (1 + edge.visits) * (self.c1 + math.log((total + self.c2 + 1) / self.c2))
            # All tie at a state without visits: then the larger prior goes first.
            return (self.normalised(edge) + edge.prior * bonus, edge.prior)

        scores = [score(edge) for edge in state.edges]
        return scores.index(max(scores))

    def normalised(self, edge: Edge) -> float:
        if edge.visits == 0:
            return 0.0
        low, high = self.bounds or (self.low, self.high)
        return (edge.q - low) / (high - low) if high > low else edge.q
