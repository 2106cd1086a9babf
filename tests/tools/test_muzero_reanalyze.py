"""The claim on Reanalyze: its verdict, and that what is refreshed is what today's search says."""

from __future__ import annotations

import copy
from collections import deque

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from nodes.env.board import Lanes  # noqa: E402
from nodes.games.interface import game_named  # noqa: E402
from nodes.serve.muzero import Served  # noqa: E402
from tools.claims.muzero_reanalyze import NAMES, Curve, checks, main  # noqa: E402
from tools.claims.nim_selfplay import Learned, Training, _line, _record, _refresh, plan  # noqa: E402


def curve(*blunders: float, policy: tuple[float, ...] | None = None) -> Curve:
    return Curve(tuple(range(100, 100 * len(blunders) + 1, 100)), blunders, policy or blunders)


def test_moves_to_a_share_are_those_at_which_three_in_a_row_come_to_it():
    found = curve(0.7, 0.2, 0.7, 0.6, 0.5, 0.4, 0.1, policy=(0.9,) * 7)
    assert found.moves_to(0.51, "search") == 400  # 0.2, 0.7, 0.6
    assert found.moves_to(0.34, "search") == 700
    assert found.moves_to(0.1, "search") is None
    assert found.moves_to(0.89, "policy") is None


SLOW, FAST, NEVER = curve(*[0.7] * 5, *[0.35] * 3), curve(*[0.7] * 2, *[0.35] * 6), curve(*[0.7] * 8)


def test_the_claim_holds_where_fewer_moves_are_needed_and_fails_where_not():
    assert list(checks({NAMES[0]: [SLOW], NAMES[1]: [FAST]}).values()) == [True, True]
    assert not any(checks({NAMES[0]: [FAST], NAMES[1]: [SLOW]}).values())
    assert not any(checks({NAMES[0]: [FAST], NAMES[1]: [FAST]}).values())
    failed = checks({NAMES[0]: [SLOW, SLOW], NAMES[1]: [FAST, NEVER]})
    assert not any(failed.values())
    assert all("it does not come there on 1 of 2 seeds" in text for text in failed)


def test_what_is_compared_is_what_all_agents_without_come_to_by_search_and_by_policy_apart():
    mixed = curve(*[0.35] * 8, policy=(0.7,) * 8)  # soon there by search, never by its policy
    text, other = checks({NAMES[0]: [SLOW, curve(*[0.5] * 8)], NAMES[1]: [mixed, mixed]}).items()
    assert text[0].startswith("by search, to 50.0% blunders")
    assert text[1]
    assert other[0].startswith("by policy, to 50.0% blunders")
    assert not other[1]


def test_a_refreshed_game_has_the_moves_that_were_played_and_the_policies_of_todays_search():
    torch.set_num_threads(1)
    game, training, rng = game_named("nim"), Training(0, simulations=6, refreshed=2), np.random.default_rng(0)
    torch.manual_seed(0)
    learned = Learned(Served(game.observation_shape, game.actions, "mlp", 64, 0, 0))
    lanes, played = Lanes(game, 4, 1.0, 12, rng), []
    while len(played) < 4:
        played += lanes.move(plan(learned, [one.position for one in lanes.under_way], 3, rng))
    kept = deque((each, _record(each, training)) for each in played)
    same = copy.deepcopy(rng)
    _refresh(game, kept, learned, training, rng)
    drawn = same.choice(4, 2, replace=False).tolist()
    lines = [_line(game, played[at]) for at in drawn]
    found = plan(learned, [position for line in lines for position in line], 6, same)  # with noise, as it plays
    policies = np.split(found.visits / found.visits.sum(1, keepdims=True), [len(lines[0])])
    values = np.split(found.values, [len(lines[0])])
    for at in range(4):
        before, after = played[at], kept[at][0]
        if at not in drawn:
            assert after is before
            continue
        np.testing.assert_array_equal(after.actions, before.actions)
        np.testing.assert_array_equal(after.observations, before.observations)
        np.testing.assert_allclose(after.policies, policies[drawn.index(at)], rtol=1e-6)
        np.testing.assert_allclose(after.values, values[drawn.index(at)], atol=1e-6)


def test_fewer_rounds_than_three_examinations_take_are_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["muzero_reanalyze", "--seeds", "0", "--rounds", "14"])
    with pytest.raises(SystemExit, match=r"--rounds 14 is too few: .* give 15 or more"):
        main()
