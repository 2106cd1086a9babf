"""The 57 games."""

from __future__ import annotations

import pytest

from nodes.algo.atari_scores import SCORES, human_normalised


def test_there_are_57_and_the_emulator_knows_each():
    assert len(SCORES) == 57
    roms = pytest.importorskip("ale_py.roms")
    assert set(SCORES) <= set(roms.get_all_rom_ids())


@pytest.mark.parametrize("game", SCORES)
def test_the_random_player_is_0_and_the_human_1(game):
    assert human_normalised(game, SCORES[game].random) == 0.0
    assert human_normalised(game, SCORES[game].human) == 1.0


def test_an_unknown_game_is_named():
    with pytest.raises(ValueError, match="'pogn' is not one of the 57"):
        human_normalised("pogn", 1.0)
