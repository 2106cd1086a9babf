"""Any network a graph can name keeps the interface's promises."""

from __future__ import annotations

import pytest
import torch

from nodes.nets.interface import build

NAMES = ("small", "impala")
A = 6


def network(name, **settings):
    torch.manual_seed(0)
    return build(name, A, bf16=False, **settings)


def questions(times, batch, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return (
        torch.randint(0, 256, (times, batch, 4, 84, 84), dtype=torch.uint8, generator=draw),
        torch.randn(times, batch, generator=draw),
        torch.randint(A, (times, batch), generator=draw),
        torch.rand(times, batch, generator=draw) < 0.3,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bf16", [False, True])
def test_shapes_and_types_are_the_interface_s(name, bf16):
    net = build(name, A, bf16=bf16)
    answer = net(*questions(3, 2), torch.zeros(2, net.core_size))
    assert answer.logits.shape == (3, 2, A)
    assert answer.value.shape == (3, 2)
    assert answer.core.shape == (2, net.core_size)
    assert {part.dtype for part in answer} == {torch.float32}


@pytest.mark.parametrize("name", NAMES)
def test_one_step_at_a_time_says_the_same_as_all_at_once(name):
    net = network(name)
    asked = questions(5, 2)
    core = torch.zeros(2, net.core_size)
    whole = net(*asked, core)
    logits = []
    for t in range(5):
        step = net(*(part[t : t + 1] for part in asked), core)
        core = step.core
        logits.append(step.logits)
    torch.testing.assert_close(torch.cat(logits), whole.logits)
    torch.testing.assert_close(core, whole.core)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_remembered_across_a_first_observation(name):
    net = network(name)
    stacks, reward, action, first = questions(3, 2)
    first[0] = True
    fresh = net(stacks, torch.zeros_like(reward), action, first, torch.zeros(2, net.core_size))
    reward[1:] = 0
    used = net(stacks, reward, action.index_fill(0, torch.tensor([0]), 5), first, torch.randn(2, net.core_size))
    torch.testing.assert_close(used.logits, fresh.logits)


@pytest.mark.parametrize("name", NAMES)
def test_lanes_are_alone(name):
    net = network(name)
    core = torch.randn(4, net.core_size)
    asked = questions(2, 4)
    some = [1, 3]
    alone = net(*(part[:, some] for part in asked), core[some])
    torch.testing.assert_close(alone.logits, net(*asked, core).logits[:, some], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_answers_nearly_as_float32_does(name):
    exact, quick = network(name), build(name, A, bf16=True)
    quick.load_state_dict(exact.state_dict())
    asked = (*questions(2, 4), torch.zeros(4, exact.core_size))
    torch.testing.assert_close(quick(*asked).value, exact(*asked).value, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_gets_a_gradient(name):
    net = network(name)
    answer = net(*questions(2, 2), torch.zeros(2, net.core_size))
    (answer.logits.square().sum() + answer.value.square().sum()).backward()
    for weight in net.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()


def test_the_small_network_does_not_see_how_bright_the_ground_is():
    net = network("small")
    stacks, *rest = questions(2, 2)
    stacks = stacks // 2
    core = torch.zeros(2, 0)
    torch.testing.assert_close(net(stacks + 50, *rest, core), net(stacks, *rest, core), atol=1e-4, rtol=1e-4)


def test_the_papers_network_has_its_size():
    count = sum(weight.numel() for weight in build("impala", 18).parameters())
    assert 1.5e6 < count < 1.7e6


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no network is named 'imapla'; there are 'impala', 'small'"):
        build("imapla", A)
