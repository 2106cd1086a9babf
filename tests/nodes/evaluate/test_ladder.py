"""The newest weights against those of before, in Elo."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from flow.errors import MessageError  # noqa: E402
from flow.testing.harness import drive  # noqa: E402
from nodes.algo.elo import elo_of  # noqa: E402
from nodes.evaluate.ladder import ladder  # noqa: E402
from nodes.messages import Weights  # noqa: E402
from nodes.nets.muzero import build  # noqa: E402
from nodes.nets.weights import weights_of  # noqa: E402
from tests.nodes.evaluate.test_exam import adviser  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")


def fresh(seed: int, width: int = 16) -> Weights:
    torch.manual_seed(seed)
    return Weights(weights_of(build("mlp", (15,), 12, width=width)))


async def climbed(weights, *, wrong: bool, **more):
    return await drive(
        ladder, planner=adviser("nim", wrong=wrong), weights=weights, game="nim", width=16, simulations=4, games=20,
        **more,
    )  # fmt: skip


async def test_a_planner_that_plays_perfectly_climbs_and_the_worst_falls():
    weights = [(float(n), fresh(n)) for n in range(3)]
    up = (await climbed(weights, wrong=False, every=1)).metrics
    down = (await climbed(weights, wrong=True, every=1)).metrics
    for found, sign in ((up, 1), (down, -1)):
        assert found.counters["ladder_matches"] == 2  # the first weights have nobody before them
        assert sign * found.gauges["ladder_gain"] > 0
        assert sign * found.gauges["ladder_elo"] > sign * found.gauges["ladder_gain"]
        assert found.gauges["ladder_low"] < found.gauges["ladder_elo"] < found.gauges["ladder_high"]


async def test_a_match_is_played_each_time_enough_updates_were_made():
    weights = [(float(n), fresh(n)) for n in range(7)]
    found = (await climbed(weights, wrong=False, every=3)).metrics
    assert found.counters["ladder_matches"] == 2  # versions 3 and 6, after 0


async def test_two_matches_err_less_than_twice_what_one_does():
    weights = [(float(n), fresh(n)) for n in range(3)]
    found = (await climbed(weights, wrong=False, every=1)).metrics.gauges
    most = elo_of(20, 20)  # no match says less than one that was won whole
    assert found["ladder_high"] - found["ladder_elo"] <= 2**0.5 * (most.high - most.difference) + 1e-6


async def test_weights_of_another_network_are_refused():
    with pytest.raises(MessageError, match="give every node the same game and network"):
        await climbed([fresh(0, width=32)], wrong=False)
