import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')
pytest.importorskip("ale_py", reason='needs the Atari games: pip install "flow-research[atari]"')

from flow.errors import SettingError  # noqa: E402
from flow.testing.harness import drive  # noqa: E402
from nodes.learn.laser import learner  # noqa: E402
from nodes.learn.replayer import replayer  # noqa: E402
from nodes.messages import Trajectories, Weights  # noqa: E402
from nodes.nets.interface import build  # noqa: E402
from nodes.nets.weights import weights_of  # noqa: E402

ACTIONS, STEPS = 6, 4
SETTINGS = {
    "game": "pong",
    "batch": 4,
    "replay_share": 0.5,
    "learning_rate": 1e-3,
    "entropy_cost": 0.01,
    "precision": "float32",
}


def unrolls(seed: int, lanes: int, core: int = 0) -> Trajectories:
    """Random unrolls; an action is rewarded when it is 1."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, ACTIONS, (lanes, STEPS)).astype(np.uint8)
    first = np.zeros((lanes, STEPS + 1), bool)
    first[:, 0] = True
    return Trajectories(
        frames=rng.integers(0, 255, (lanes, STEPS + 4, 84, 84), dtype=np.uint8),
        first=first,
        actions=actions,
        rewards=(actions == 1).astype(np.float32),
        terminated=np.zeros((lanes, STEPS), bool),
        logits=np.zeros((lanes, STEPS, ACTIONS), np.float32),
        last_rewards=np.zeros(lanes, np.float32),
        last_actions=np.zeros(lanes, np.int64),
        cores=np.zeros((lanes, core), np.float32),
        versions=np.zeros(lanes, np.int64),
        streams=np.arange(lanes),
        starts=np.zeros(lanes, np.int64),
    )


async def learned(online: list[Trajectories], replayed: list[Trajectories], **more):
    return await drive(learner, online=online, replayed=replayed, **{**SETTINGS, **more})


async def test_every_update_is_published_with_the_next_version():
    result = await learned([unrolls(n, 4) for n in range(3)], [unrolls(100 + n, 4) for n in range(3)])
    assert [value.version for value in result.weights] == list(range(7))
    assert result.metrics.counters["updates"] == 6


async def test_a_learner_killed_and_resumed_learns_what_it_would_have_learned():
    online, replayed = [unrolls(n, 2) for n in range(4)], [unrolls(100 + n, 2) for n in range(4)]
    whole = await learned(online, replayed)
    half = await learned(online[:2], replayed[:2])
    rest = await learned(online[2:], replayed[2:], saved=half.saved)
    assert rest.weights[0].version == half.weights[-1].version
    for name, expected in whole.weights[-1].message.tensors.items():
        np.testing.assert_array_equal(rest.weights[-1].message.tensors[name], expected, err_msg=name)


async def test_until_replay_sends_a_learner_goes_on_with_online_unrolls_alone():
    late = [(10.0, unrolls(100, 4))]
    online = [(0.0, unrolls(1, 2)), (0.1, unrolls(2, 2)), (11.0, unrolls(3, 2))]
    result = await learned(online, late)
    assert result.metrics.counters["learned_steps"] == (2 + 2 + 4) * STEPS


async def test_a_rewarded_action_becomes_more_likely():
    result = await learned([unrolls(n, 8) for n in range(40)], [], replay_share=0.0, batch=8, entropy_cost=0.0)
    network = build("small", ACTIONS, bf16=False)
    network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in result.weights[-1].message.tensors.items()})
    stacks = torch.from_numpy(unrolls(999, 16).frames[:, :4].copy())[None]
    nothing = torch.zeros(1, 16)
    answer = network(stacks, nothing, nothing.long(), nothing.bool(), torch.zeros(16, 0))
    assert answer.logits.softmax(-1)[..., 1].mean() > 2 / ACTIONS


async def test_a_batch_without_online_unrolls_is_refused_with_the_mend():
    with pytest.raises(SettingError, match="leaves no online unroll; lower it"):
        await learned([], [], replay_share=0.95)


async def test_a_replayer_hands_on_the_memory_that_the_network_has_of_an_episode():
    torch.manual_seed(0)
    network = build("impala", ACTIONS, bf16=False).eval()
    pieces = [unrolls(n, 2) for n in range(3)]
    for before, piece in itertools.pairwise(pieces):
        piece.first[:, 0] = False
        piece.frames[:, :4] = before.frames[:, -4:]
    result = await drive(
        replayer, stored=pieces, weights=[Weights(weights_of(network))], game="pong", network="impala", device="cpu"
    )
    core = torch.zeros(2, network.core_size)
    for piece, handed in zip(pieces, result.replayed, strict=True):
        np.testing.assert_allclose(handed.cores, core.numpy(), atol=0.05)  # the node may compute in bfloat16
        core = after(network, piece, core)


def after(network, piece: Trajectories, core):
    """The network's memory after an unroll, one step at a time."""
    with torch.inference_mode():
        for t in range(STEPS):
            blank = piece.first[:, t]
            reward = piece.last_rewards if t == 0 else piece.rewards[:, t - 1]
            action = piece.last_actions if t == 0 else piece.actions[:, t - 1]
            stack = piece.frames[:, t : t + 4].copy()
            if t < 3 and piece.first[0, 0]:
                stack[:, : 3 - t] = 0
            core = network(
                torch.from_numpy(stack)[None],
                torch.from_numpy(np.where(blank, 0, reward).astype(np.float32))[None],
                torch.from_numpy(np.where(blank, 0, action).astype(np.int64))[None],
                torch.from_numpy(blank)[None],
                core,
            ).core
    return core


async def test_a_replayer_with_memory_refuses_unrolls_that_begin_anywhere():
    pieces = [unrolls(n, 2) for n in range(2)]
    pieces[1].first[:, 0] = False
    network = build("impala", ACTIONS, bf16=False)
    with pytest.raises(SettingError, match='set draw = "episodes"'):
        await drive(replayer, stored=pieces, weights=[Weights(weights_of(network))], game="pong", network="impala")


async def test_what_is_left_online_is_learned_when_replay_has_ended():
    online = [(0.0, unrolls(1, 2)), (10.0, unrolls(2, 4)), (20.0, unrolls(3, 4))]
    result = await learned(online, [(5.0, unrolls(100, 2))])
    # 2 alone, then 2 with the 2 that were replayed, then the rest alone: 4 at a time, since none is replayed.
    assert result.metrics.counters["learned_steps"] >= (2 + 4 + 4) * STEPS
