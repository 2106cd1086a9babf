import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')
pytest.importorskip("ale_py", reason='needs the Atari games: pip install "flow-research[atari]"')

from flow.testing.harness import drive  # noqa: E402
from nodes.messages import Observations, Weights  # noqa: E402
from nodes.nets.interface import build  # noqa: E402
from nodes.nets.weights import weights_of  # noqa: E402
from nodes.serve.policy import Served, policy  # noqa: E402
from tests.nodes.serve.modules_for_tests import memory_for  # noqa: E402

ACTIONS = 6  # Pong's


def observations(rng: np.random.Generator, lanes: list[int], first: bool) -> Observations:
    rows = len(lanes)
    return Observations(
        rng.integers(0, 255, (rows, 4, 84, 84), dtype=np.uint8),
        np.zeros(rows, np.float32),
        np.zeros(rows, np.int64),
        np.full(rows, first),
        np.array(lanes, np.int64),
    )


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    made = build(name, ACTIONS, bf16=False).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return made


def answered_alone(made: torch.nn.Module, seen: Observations, core: torch.Tensor):
    with torch.inference_mode():
        return made(
            torch.from_numpy(seen.stacks)[None],
            torch.from_numpy(seen.last_rewards)[None],
            torch.from_numpy(seen.last_actions)[None],
            torch.from_numpy(seen.first)[None],
            core,
        )


@pytest.mark.parametrize("rows", [[1], [3, 2, 1], [5, 8]])
async def test_an_answer_does_not_depend_on_who_else_asked(rows):
    rng = np.random.default_rng(1)
    made = network("small")
    lanes = iter(range(100))
    questions = [observations(rng, [next(lanes) for _ in range(n)], True) for n in rows]
    result = await drive(
        policy, requests=questions, weights=[Weights(weights_of(made))], game="pong", precision="float32"
    )
    for question, answer in zip(questions, result.requests, strict=True):
        alone = answered_alone(made, question, torch.zeros(len(question.first), 0))
        np.testing.assert_allclose(answer.logits, alone.logits[0].numpy(), atol=2e-5)
        assert answer.version == 0
        assert answer.actions.min() >= 0
        assert answer.actions.max() < ACTIONS


async def test_actions_are_drawn_from_the_softmax_of_the_logits():
    rng = np.random.default_rng(2)
    made = network("small")
    with torch.no_grad():
        made.policy.bias[2] += 1.5
    one = observations(rng, [0], True)
    many = Observations(*(np.repeat(getattr(one, spec.name), 4000, 0) for spec in Observations.fields))
    result = await drive(
        policy, requests=[many], weights=[Weights(weights_of(made))], game="pong", batch_max=4000, precision="float32"
    )
    counts = np.bincount(result.requests[0].actions, minlength=ACTIONS)
    logits = result.requests[0].logits[0].astype(np.float64)
    expected = 4000 * np.exp(logits) / np.exp(logits).sum()
    # χ² of 5 degrees of freedom is below 25.7 in all but one of ten thousand draws.
    assert ((counts - expected) ** 2 / expected).sum() < 25.7


@pytest.mark.parametrize("rows_max", [None, 1])
async def test_a_network_with_memory_has_it_kept_by_lane_and_lost_at_a_first_observation(rows_max):
    rng = np.random.default_rng(3)
    made = network("impala")
    order = [([4, 1], True), ([1, 4], False), ([4], False), ([1], True), ([4, 1], False)]
    questions = [(0.1 * n, observations(rng, lanes, first)) for n, (lanes, first) in enumerate(order)]
    given = {"game": "pong", "network": "impala", "precision": "float32"}
    with memory_for(rows_max):
        result = await drive(policy, requests=questions, weights=[Weights(weights_of(made))], **given)
    memory: dict[int, torch.Tensor] = {}
    for (_, seen), answer in zip(questions, result.requests, strict=True):
        rows = []
        for row, lane in enumerate(seen.lane_ids):
            core = torch.zeros(1, made.core_size) if seen.first[row] else memory[int(lane)]
            rows.append(core)
            np.testing.assert_allclose(answer.cores[row], core[0].numpy(), atol=1e-4)
        alone = answered_alone(made, seen, torch.cat(rows))
        np.testing.assert_allclose(answer.logits, alone.logits[0].numpy(), atol=1e-4)
        for row, lane in enumerate(seen.lane_ids):
            memory[int(lane)] = alone.core[row : row + 1]


def test_where_memory_runs_out_behind_the_network_no_lane_remembers_a_step_twice(monkeypatch):
    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    steps = [observations(rng, [0, 1, 2, 3], first) for first in (True, False, False)]
    whole, halved = (Served("pong", "impala", "cpu", "float32", 0) for _ in range(2))
    halved.load(Weights(weights_of(whole.network)))
    expected = [whole.answer(step, 4, 0) for step in steps]
    found = [halved.answer(steps[0], 4, 0)]
    noise, failed = torch.empty_like, []

    def fails_once(*args, **given):
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return noise(*args, **given)

    monkeypatch.setattr(torch, "empty_like", fails_once)
    found += [halved.answer(step, 4, 0) for step in steps[1:]]
    assert halved.fits.most == 2
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other.cores, one.cores, atol=1e-4)
        np.testing.assert_allclose(other.logits, one.logits, atol=1e-4)
