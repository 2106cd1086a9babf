"""The model as it is served: hidden states by slot, beside the network applied directly."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from flow.errors import MessageError  # noqa: E402
from flow.testing.harness import drive  # noqa: E402
from nodes.algo.value_transform import read  # noqa: E402
from nodes.games.messages import Roots, Steps  # noqa: E402
from nodes.messages import Weights  # noqa: E402
from nodes.nets.muzero import build  # noqa: E402
from nodes.nets.weights import weights_of  # noqa: E402
from nodes.serve.in_parts import answered  # noqa: E402
from nodes.serve.muzero import Served, model  # noqa: E402
from tests.nodes.serve.modules_for_tests import memory_for  # noqa: E402

RNG = np.random.default_rng(0)


def network(bins: int = 0):
    torch.manual_seed(3)
    return build("mlp", (15,), 12, width=16, bins=bins).eval()


def roots(planner: int, slots: list[int]) -> Roots:
    seen = np.random.default_rng(slots).normal(size=(len(slots), 15)).astype(np.float32)
    return Roots(seen, np.full(len(slots), planner), np.array(slots, np.int64))


def steps(planner: int, parents: list[int], actions: list[int], slots: list[int]) -> Steps:
    return Steps(np.full(len(slots), planner), *(np.array(each, np.int64) for each in (parents, actions, slots)))


async def served(asked_roots, asked_steps, made, **more):
    return await drive(
        model,
        roots=asked_roots,
        steps=asked_steps,
        weights=[Weights(weights_of(made))],
        game="nim",
        width=16,
        device="cpu",
        **more,
    )


@pytest.mark.parametrize("bins", [0, 4])
async def test_a_chain_of_moves_gives_what_the_network_gives(bins):
    made = network(bins)
    chain = [(0.1 * (n + 1), steps(7, [n], [n], [n + 1])) for n in range(5)]
    result = await served([roots(7, [0])], chain, made, bins=bins)
    with torch.inference_mode():
        hidden = made.represent(torch.from_numpy(roots(7, [0]).observations))
        logits, value = made.predict(hidden)
        np.testing.assert_allclose(result.roots[0].logits, logits, atol=1e-5)
        np.testing.assert_allclose(result.roots[0].values, read(value), atol=1e-5)
        assert not result.roots[0].rewards.any()
        for n, answer in enumerate(result.steps):
            hidden, reward = made.dynamics(hidden, torch.tensor([n]))
            logits, value = made.predict(hidden)
            np.testing.assert_allclose(answer.rewards, read(reward), atol=1e-5)
            np.testing.assert_allclose(answer.logits, logits, atol=1e-5)
            np.testing.assert_allclose(answer.values, read(value), atol=1e-5)
            assert answer.version == 0


@pytest.mark.parametrize("rows_max", [None, 1])
async def test_planners_that_name_the_same_slots_do_not_see_each_others_hidden_states(rows_max):
    made = network()
    asked = [roots(1, [0, 1]), roots(2, [1, 0])]
    later = [(1.0, steps(planner, [1, 0], [3, 4], [2, 3])) for planner in (1, 2)]
    with memory_for(rows_max):
        together = await served(asked, later, made)
    for planner in (0, 1):
        alone = await served(asked[planner : planner + 1], later[planner : planner + 1], made)
        np.testing.assert_allclose(alone.steps[0].values, together.steps[planner].values, atol=1e-6)
        np.testing.assert_allclose(alone.steps[0].logits, together.steps[planner].logits, atol=1e-6)
    assert np.abs(together.steps[0].values - together.steps[1].values).max() > 1e-4


def test_a_batch_that_is_padding_behind_some_row_is_answered_in_parts_as_whole():
    torch.set_num_threads(1)
    whole, parts = (Served((15,), 12, "mlp", 16) for _ in range(2))
    parts.network.load_state_dict(whole.network.state_dict())
    asked, moves = roots(1, list(range(32))), steps(1, list(range(32)), [3] * 32, list(range(32, 64)))
    for what, message in (("roots", asked), ("steps", moves)):
        expected = answered(whole.fits, getattr(whole, what), message, 12)
        with memory_for(8):
            found = answered(parts.fits, getattr(parts, what), message, 12)
        assert parts.fits.most == 8
        assert len(found.values) == 32
        for field in ("rewards", "logits", "values"):
            np.testing.assert_allclose(getattr(found, field)[:12], getattr(expected, field)[:12], atol=1e-6)


async def test_a_slot_that_is_named_again_holds_the_newer_state():
    made = network()
    again = Roots(roots(1, [5]).observations, np.array([1]), np.array([0]))
    result = await served([(0.0, roots(1, [0])), (0.5, again)], [(1.0, steps(1, [0], [2], [1]))], made)
    alone = await served([again], [(1.0, steps(1, [0], [2], [1]))], made)
    np.testing.assert_allclose(result.steps[0].values, alone.steps[0].values, atol=1e-6)


async def test_another_start_of_the_model_says_another_epoch():
    from flow import Context

    epochs = set()
    for incarnation in (0, 1):
        context = Context("model", incarnation=incarnation)
        result = await served([roots(1, [0])], [], network(), context=context)
        epochs.add(result.roots[0].epoch)
    assert len(epochs) == 2


async def test_more_hidden_states_than_allowed_are_refused_with_the_mend():
    with pytest.RaisesGroup(
        pytest.RaisesExc(MessageError, match="names slot 9 for a hidden state, one may keep 9; raise slots_max")
    ):
        await served([roots(1, [9])], [], network(), slots_max=9)


async def test_a_slot_that_was_never_filled_is_zero_and_no_others_state():
    made = network()
    result = await served([roots(1, [0, 1])], [(1.0, steps(1, [900, 0], [2, 2], [5, 6]))], made)
    with torch.inference_mode():
        hidden, _ = made.dynamics(torch.zeros(1, *made.hidden_shape), torch.tensor([2]))
        np.testing.assert_allclose(result.steps[0].values[:1], read(made.predict(hidden)[1]), atol=1e-5)


async def test_weights_of_another_network_are_refused_by_name():
    wider = build("mlp", (15,), 12, width=32)
    with pytest.raises(MessageError, match=r"give every node the same game and network"):
        await served([], [], wider)
