import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from nodes.learn.inputs import loss_inputs, network_inputs  # noqa: E402
from tests.nodes.trajectories_for_tests import trajectories  # noqa: E402

CPU = torch.device("cpu")


@given(data=st.data(), steps=st.integers(1, 5), lanes=st.integers(1, 3))
def test_what_a_network_sees_is_shifted_by_one_and_blank_at_first_observations(data, steps, lanes):
    first = np.array(data.draw(st.lists(st.booleans(), min_size=lanes * (steps + 1), max_size=lanes * (steps + 1))))
    first = first.reshape(lanes, steps + 1)
    unrolls = trajectories(list(range(lanes)), 10, steps, first=first)
    seen = network_inputs(unrolls, CPU)
    for lane in range(lanes):
        for t in range(steps + 1):
            before = unrolls.last_rewards[lane] if t == 0 else unrolls.rewards[lane, t - 1]
            action = unrolls.last_actions[lane] if t == 0 else unrolls.actions[lane, t - 1]
            blank = first[lane, t]
            assert seen.last_rewards[t, lane] == (0 if blank else before)
            assert seen.last_actions[t, lane] == (0 if blank else action)
            # The newest frame of a stack is the observation's own, and older ones are of its episode or black.
            assert seen.stacks[t, lane, 3, 0, 0] == unrolls.frames[lane, 3 + t, 0, 0]
            for back in range(1, 4):
                since = [j for j in range(max(t - back + 1, 0), t + 1) if first[lane, j]]
                expected = 0 if since else unrolls.frames[lane, 3 + t - back, 0, 0]
                assert seen.stacks[t, lane, 3 - back, 0, 0] == expected


def test_rewards_are_clipped_for_the_loss_alone():
    unrolls = trajectories([0], 5, 3)
    online = torch.ones(1, dtype=torch.bool)
    assert loss_inputs(unrolls, online, CPU, 1.0).reward.max() == 1
    assert network_inputs(unrolls, CPU).last_rewards.max() > 1
