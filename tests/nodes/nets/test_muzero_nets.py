"""MuZero's networks: shapes, scaling, and that a row's answer is its own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from nodes.nets.muzero import build, scaled, unroll  # noqa: E402

CASES = [
    ("mlp", (15,), 12, 0),
    ("mlp", (2, 3, 3), 9, 4),
    ("board", (2, 3, 3), 9, 0),  # an action a square
    ("board", (4, 6, 7), 7, 3),  # an action a column
    ("board", (4, 3, 3), 10, 0),  # neither: a plane each
    ("atari", (4, 32, 32), 5, 2),
]


@pytest.mark.parametrize(("name", "shape", "actions", "bins"), CASES)
def test_shapes_are_those_of_the_protocol_and_hidden_states_lie_in_0_to_1(name, shape, actions, bins):
    torch.manual_seed(0)
    network = build(name, shape, actions, width=16, blocks=1, bins=bins)
    said = unroll(network, torch.randn(5, *shape), torch.randint(actions, (5, 3)))
    head = 2 * bins + 1
    assert [tuple(part.shape) for part in said] == [(4, 5, actions), (4, 5, head), (3, 5, head)]
    hidden = network.represent(torch.randn(5, *shape))
    for state in (hidden, network.dynamics(hidden, torch.arange(5))[0]):
        assert tuple(state.shape[1:]) == network.hidden_shape
        torch.testing.assert_close(state.flatten(1).amin(1), torch.zeros(5))
        torch.testing.assert_close(state.flatten(1).amax(1), torch.ones(5))


@pytest.mark.parametrize(("name", "shape", "actions", "bins"), CASES)
def test_a_rows_answer_does_not_depend_on_its_neighbours(name, shape, actions, bins):
    torch.manual_seed(0)
    network = build(name, shape, actions, width=16, blocks=1, bins=bins).eval()
    seen, moves = torch.randn(4, *shape), torch.randint(actions, (4, 2))
    together = unroll(network, seen, moves)
    for row in range(4):
        alone = unroll(network, seen[row : row + 1], moves[row : row + 1])
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(part[:, 0], whole[:, row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "shape", "actions", "bins"), CASES)
def test_each_action_leads_to_its_own_hidden_state(name, shape, actions, bins):
    torch.manual_seed(0)
    network = build(name, shape, actions, width=16, blocks=1, bins=bins).eval()
    hidden = network.represent(torch.randn(1, *shape)).repeat(actions, *[1] * len(network.hidden_shape))
    after = network.dynamics(hidden, torch.arange(actions))[0].flatten(1)
    assert len(torch.unique(after.round(decimals=4), dim=0)) == actions


def test_a_hidden_state_without_range_is_not_blown_up():
    flat = torch.full((1, 4), 3.0)
    flat[0, 0] += 1e-7
    assert scaled(flat).abs().max() < 0.1


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="no network is named 'resnet'; there are 'mlp', 'board', 'atari'"):
        build("resnet", (3,), 2)


def test_a_network_for_boards_refuses_what_is_no_board():
    with pytest.raises(ValueError, match=r'takes planes \(C, H, W\), found \(15,\); set network = "mlp"'):
        build("board", (15,), 2)


@pytest.mark.parametrize("shape", [(15,), (4, 30, 32)])
def test_a_network_for_atari_refuses_what_cannot_be_made_smaller(shape):
    with pytest.raises(ValueError, match="S a multiple of 16, found") as caught:
        build("atari", shape, 2)
    assert str(shape) in str(caught.value)


def test_bytes_are_seen_as_shares_of_255():
    torch.manual_seed(0)
    seen = torch.randint(256, (3, 4, 32, 32), dtype=torch.uint8)
    for name in ("atari", "board", "mlp"):
        network = build(name, (4, 32, 32), 5, width=8, blocks=1).eval()
        torch.testing.assert_close(network.represent(seen), network.represent(seen.float() / 255))


def test_with_the_papers_numbers_the_tower_for_atari_is_the_papers():
    # 19 M parameters in each of 16 blocks of 256 planes, h and g; sizes of frames that are made smaller as in F.
    with torch.device("meta"):
        network = build("atari", (128, 96, 96), 18, width=256, blocks=16, bins=300)
    assert network.hidden_shape == (256, 6, 6)
    towers = [sum(p.numel() for p in part.parameters()) for part in (network.board.represented, network.board.moved)]
    assert all(19e6 < count < 20e6 for count in towers)
    halves = [type(part).__name__ for part in network.shrunk]
    assert halves == [
        "Sequential",
        *["Residual"] * 2,
        "Sequential",
        *["Residual"] * 3,
        "AvgPool2d",
        *["Residual"] * 3,
        "AvgPool2d",
    ]
