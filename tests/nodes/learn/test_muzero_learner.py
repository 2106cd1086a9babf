"""MuZero's learner on stretches of Nim that are known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from flow.errors import MessageError  # noqa: E402
from flow.testing.harness import drive  # noqa: E402
from nodes.algo.value_transform import read  # noqa: E402
from nodes.games.interface import game_named  # noqa: E402
from nodes.games.messages import Samples  # noqa: E402
from nodes.games.solve import solve  # noqa: E402
from nodes.learn.muzero import learner  # noqa: E402
from nodes.nets.muzero import build  # noqa: E402

UNROLL, ROWS = 2, 32
SETTINGS = {"game": "nim", "width": 64, "learning_rate": 5e-3, "device": "cpu", "publish_every": 2}
SOLVED = solve(game_named("nim"))


def sample(seed: int) -> Samples:
    """What perfect play says of random positions of Nim and of the moves it makes from there."""
    rng = np.random.default_rng(seed)
    found = Samples(
        np.empty((ROWS, 15), np.float32),
        rng.integers(0, 12, (ROWS, UNROLL)),
        np.zeros((ROWS, UNROLL), np.float32),
        np.zeros((ROWS, UNROLL + 1), np.float32),
        np.zeros((ROWS, UNROLL + 1, 12), np.float32),
        np.zeros((ROWS, UNROLL + 1), bool),
        np.ones(ROWS, np.float32),
        rng.integers(0, 999, ROWS),
        np.zeros(ROWS, np.int64),
    )
    for row in range(ROWS):
        at = int(rng.integers(len(SOLVED.positions)))
        found.observations[row] = SOLVED.positions[at].observation()
        for k in range(UNROLL + 1):
            if at < 0:
                break
            found.real[row, k], found.values[row, k] = True, SOLVED.values[at]
            best = int(SOLVED.q[at].argmax())
            found.policies[row, k, best] = 1
            if k < UNROLL:
                found.actions[row, k] = best
                later = dict(SOLVED.after[at])[best]
                found.rewards[row, k] = float(later < 0)
                at = later
    return found


@pytest.fixture(autouse=True)
def one_thread():
    """The network is so small that threads would wait for each other, long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


async def learned(samples: list[Samples], **more):
    return await drive(learner, samples=samples, **{**SETTINGS, **more})


async def test_weights_are_published_at_first_every_so_many_updates_and_at_last():
    result = await learned([sample(n) for n in range(5)])
    assert [value.version for value in result.weights] == [0, 2, 4, 5]
    assert result.metrics.counters["updates"] == 5
    assert [list(each.handles) for each in result.priorities] == [list(sample(n).handles) for n in range(5)]


async def test_a_learner_killed_and_resumed_learns_what_it_would_have_learned():
    samples = [sample(n) for n in range(6)]
    whole = await learned(samples)
    half = await learned(samples[:4])
    rest = await learned(samples[4:], saved=half.saved)
    for name, expected in whole.weights[-1].message.tensors.items():
        np.testing.assert_array_equal(rest.weights[-1].message.tensors[name], expected, err_msg=name)


@pytest.mark.parametrize("bins", [0, 2])
async def test_it_learns_to_foresee_policy_value_and_reward_along_the_moves(bins):
    result = await learned([sample(n) for n in range(350)], bins=bins, publish_every=1000)
    network = build("mlp", (15,), 12, width=64, bins=bins).eval()
    tensors = result.weights[-1].message.tensors
    network.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()})
    fresh = sample(10_000)
    with torch.inference_mode():
        hidden = network.represent(torch.from_numpy(fresh.observations))
        for k in range(UNROLL + 1):
            logits, value = network.predict(hidden)
            real = torch.from_numpy(fresh.real[:, k])
            right = logits.argmax(1) == torch.from_numpy(fresh.policies[:, k].argmax(1))
            assert right[real].float().mean() > 0.6, k
            errors = (read(value) - torch.from_numpy(fresh.values[:, k])).abs()
            assert errors[real].mean() < 0.4, k
            if k < UNROLL:
                hidden, reward = network.dynamics(hidden, torch.from_numpy(fresh.actions[:, k]))
                assert (read(reward) - torch.from_numpy(fresh.rewards[:, k])).abs()[real].mean() < 0.25
    said = np.array([each.priorities.mean() for each in result.priorities])
    assert said[-20:].mean() < said[:5].mean() / 2


async def test_the_learning_rate_falls_to_a_tenth_in_the_updates_given():
    result = await learned([sample(n) for n in range(5)], decay_updates=4)
    (group,) = result.saved["optimiser"]["param_groups"]
    assert group["lr"] == pytest.approx(SETTINGS["learning_rate"] / 10)


async def test_a_loss_that_is_no_number_ends_the_node_with_the_mend():
    broken = sample(0)
    broken.values[0, 0] = np.inf
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        await learned([broken])


async def test_samples_of_another_game_are_refused_by_their_shapes():
    text = r"samples of positions \(15,\) with 12 actions, expected \(2, 3, 3\) with 9"
    with pytest.raises(MessageError, match=text):
        await learned([sample(0)], game="tictactoe")
