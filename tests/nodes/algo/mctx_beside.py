"""The array search beside mctx's traversal, expansion and backup, with the selection rule of the paper put in.

mctx normalises per node and counts a node's own visit in Σ N, so that rule is given to it; all else is mctx's own.
Two players are a discount of -1 there too. Bounds are known, since the extremes seen so far are not kept by mctx.

    python -m tests.nodes.algo.mctx_beside -1.0 masked

A process of its own: once JAX is loaded it warns at every fork, which other tests do.
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import mctx
import numpy as np

from nodes.algo import puct_numpy
from nodes.algo.puct import Rules, exploration
from tests.nodes.algo.random_models import Table, random_table, search

BOUNDS = (-6.0, 6.0)
STATES, ACTIONS, ROOTS = 40, 5, 12


def mctx_visits(table: Table, roots: np.ndarray, legal: np.ndarray, simulations: int, rules: Rules) -> np.ndarray:
    explore = jnp.asarray(exploration(simulations, rules))
    low, high = BOUNDS
    to, reward, prior, value = map(jnp.asarray, (table.to, table.reward, table.prior, table.value))

    def select(key, tree, node, depth=0):
        visits = tree.children_visits[node]
        q = tree.children_rewards[node] + tree.children_discounts[node] * tree.children_values[node]
        q = jnp.where(visits > 0, (q - low) / (high - low), 0.0)
        chance = jax.nn.softmax(tree.children_prior_logits[node])
        score = q + chance * explore[visits.sum()] / (1 + visits)
        return jnp.argmax(jnp.where(jnp.isneginf(tree.children_prior_logits[node]), -jnp.inf, score)).astype(jnp.int32)

    def step(parameters, key, action, state):
        after = to[state, action]
        output = mctx.RecurrentFnOutput(
            reward=reward[state, action],
            discount=jnp.full(len(roots), rules.discount),
            prior_logits=jnp.log(prior[after]),
            value=value[after],
        )
        return output, after

    masked = jnp.where(jnp.asarray(legal), jnp.log(prior[jnp.asarray(roots)]), -jnp.inf)
    root = mctx.RootFnOutput(prior_logits=masked, value=value[jnp.asarray(roots)], embedding=jnp.asarray(roots))
    tree = mctx.search(
        params=(),
        rng_key=jax.random.PRNGKey(0),
        root=root,
        recurrent_fn=step,
        root_action_selection_fn=select,
        interior_action_selection_fn=select,
        num_simulations=simulations,
        max_depth=None,
    )
    return np.asarray(tree.children_visits[:, tree.ROOT_INDEX])


def compare(discount: float, masked: bool) -> None:
    """Raises AssertionError where the two searches visit root moves differently."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        table = random_table(rng, STATES, ACTIONS)
        table.prior = table.prior.astype(np.float64)
        roots = rng.integers(0, STATES, ROOTS)
        legal = np.ones((ROOTS, ACTIONS), bool)
        if masked:
            legal[np.arange(ROOTS), rng.integers(0, ACTIONS, ROOTS)] = False
        rules = Rules(discount, bounds=BOUNDS)
        ours = search(renormalised(table, roots, legal), np.arange(ROOTS) + STATES, legal, 60, rules, puct_numpy)
        theirs = mctx_visits(table, roots, legal, 60, rules)
        np.testing.assert_array_equal(ours.root_visits(), theirs)


def renormalised(table: Table, roots: np.ndarray, legal: np.ndarray) -> Table:
    """The table with a state more for each root, whose priors are divided by what its legal moves have together."""
    prior = np.where(legal, table.prior[roots], 0)
    prior /= prior.sum(1, keepdims=True)
    return Table(
        np.concatenate([table.to, table.to[roots]]),
        np.concatenate([table.reward, table.reward[roots]]),
        np.concatenate([table.prior, prior]),
        np.concatenate([table.value, table.value[roots]]),
    )


if __name__ == "__main__":
    compare(float(sys.argv[1]), sys.argv[2] == "masked")
