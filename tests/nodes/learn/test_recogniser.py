"""Networks of two streams: what they learn, what heads each video teaches, what starts where, and what is scored."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from flow.errors import MessageError, MissingError, SettingError  # noqa: E402
from flow.testing import drive  # noqa: E402
from nodes.learn.recogniser import learner, scorer  # noqa: E402
from nodes.nets.two_stream import TwoStreamNet  # noqa: E402
from nodes.nets.weights import weights_of  # noqa: E402
from nodes.recognition import Volumes  # noqa: E402
from nodes.sink.weights import weights  # noqa: E402

SETTINGS = {"network": "small", "channels": 2, "size": 16, "classes": [2, 3], "device": "cpu"}
LEARN = {**SETTINGS, "falls_at": [], "dropout": 0.0, "learning_rate": 0.02}


def volumes(rows: int = 16, seed: int = 0, views: int = 1, task: int = 0) -> Volumes:
    """Pictures whose class is which of their halves is brighter."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    pixels = rng.integers(0, 80, (rows, 2, 16, 16), dtype=np.uint8)
    for row, each in enumerate(label):
        pixels[row, :, :, 8 * each : 8 * each + 8] += 120
    scale, shift = np.full((rows, 2), 1 / 64, np.float32), np.full((rows, 2), -1, np.float32)
    return Volumes(
        pixels, scale, shift, label, np.full(rows, task), np.arange(rows) // views, np.ones(rows, bool),
        np.full(rows, views),
    )  # fmt: skip


async def test_what_can_be_learned_is_learned_and_scored():
    said = await drive(learner, batches=[volumes(seed=n) for n in range(60)], **LEARN)
    judged = await drive(scorer, views=[volumes(seed=99)], weights=[said.weights[-1].message], **SETTINGS)
    assert np.mean([each.scores.argmax() == each.label for each in judged.scores]) > 0.95


@settings(max_examples=10, deadline=None)
@given(views=st.integers(1, 4), cut=st.integers(0, 8))
async def test_a_videos_score_is_the_mean_softmax_of_its_views_however_they_come(views, cut):
    torch.manual_seed(1)
    network = TwoStreamNet("small", 2, 16, [2, 3], 0.0, False).eval()
    whole = volumes(rows=4 * views, views=views)
    parts = [Volumes(**{k: v[rows] for k, v in vars(whole).items()}) for rows in (slice(cut), slice(cut, None))]
    from nodes.messages import Weights

    given_ = Weights(weights_of(network))
    said = await drive(scorer, views=[part for part in parts if len(part.label)], weights=[given_], **SETTINGS)
    inputs = torch.from_numpy(whole.bytes * whole.scale[..., None, None] + whole.shift[..., None, None])
    softmax = network(inputs)[0].softmax(-1).detach().numpy().reshape(4, views, 2)
    assert [each.video for each in said.scores] == [0, 1, 2, 3]
    for each in said.scores:
        np.testing.assert_allclose(each.scores, softmax[each.video].mean(0), rtol=1e-4, atol=1e-6)


async def test_a_video_of_one_task_teaches_that_tasks_head_alone():
    said = await drive(learner, batches=[volumes(task=0)], publish_every=1, weight_decay=0.0, **LEARN)
    torch.manual_seed(0)
    before = weights_of(TwoStreamNet("small", 2, 16, [2, 3], 0.0, False))
    after = said.weights[-1].message.tensors
    assert np.array_equal(before["heads.1.weight"], after["heads.1.weight"])
    assert not np.array_equal(before["heads.0.weight"], after["heads.0.weight"])


async def test_the_last_layer_alone_is_learned_on_a_trunk_from_a_file(tmp_path):
    stills = await drive(learner, batches=[volumes(seed=n) for n in range(5)], **{**LEARN, "classes": [7]})
    file = tmp_path / "stills.safetensors"
    await drive(weights, weights=[stills.weights[-1].message], file=str(file))
    said = await drive(learner, batches=[volumes()], pretrained=str(file), train="last", **LEARN)
    before, after = stills.weights[-1].message.tensors, said.weights[-1].message.tensors
    assert all(np.array_equal(before[name], after[name]) for name in after if name.startswith("trunk."))
    assert after["heads.0.weight"].shape == (2, 256)


async def test_the_learning_rate_falls_to_a_tenth_where_it_is_told_to():
    batches = [volumes(seed=n) for n in range(3)]

    async def steps(falls):
        said = await drive(
            learner, batches=batches, publish_every=1, momentum=0.0, weight_decay=0.0, **{**LEARN, "falls_at": falls}
        )
        values = [each.message.tensors["heads.0.bias"] for each in said.weights]
        return [b - a for a, b in pairwise(values)]

    np.testing.assert_allclose((await steps([1]))[0], 0.1 * (await steps([]))[0], rtol=1e-3, atol=1e-7)


@settings(max_examples=4, deadline=None)
@given(cut=st.integers(1, 4))
async def test_a_learner_that_goes_on_learns_what_it_would_have_dropout_and_all(cut):
    batches = [volumes(seed=n) for n in range(5)]
    given_ = {**LEARN, "dropout": 0.5}
    whole = await drive(learner, batches=batches, **given_)
    first = await drive(learner, batches=batches[:cut], **given_)
    rest = await drive(learner, batches=batches[cut:], saved=first.saved, **given_)
    for name, value in whole.weights[-1].message.tensors.items():
        np.testing.assert_allclose(rest.weights[-1].message.tensors[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("network", "size", "layers"), [("small", 56, 4), ("cnn_m", 64, 7)])
def test_what_a_layer_of_a_new_network_says_is_as_large_as_what_it_sees(network, size, layers):
    torch.manual_seed(0)
    made = TwoStreamNet(network, 4, size, [5], 0.0, False).eval()
    sizes = []

    def note(module, inputs, output):
        sizes.append((float(inputs[0].square().mean().sqrt()), float(output.relu().square().mean().sqrt())))

    for layer in made.trunk.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(note)
    with torch.inference_mode():
        made(torch.randn(4, 4, size, size))
    assert len(sizes) == layers
    assert all(0.6 < out / seen < 1.6 for seen, out in sizes), sizes
    (head,) = made.heads
    assert 0.005 < head.weight.std() < 0.02
    assert not head.bias.any()


def test_the_papers_network_has_the_papers_layers():
    network = TwoStreamNet("cnn_m", 20, 224, [101, 51], 0.9, False)
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim > 1]
    assert shapes == [
        (96, 20, 7, 7), (256, 96, 5, 5), (512, 256, 3, 3), (512, 512, 3, 3), (512, 512, 3, 3), (4096, 512 * 6 * 6),
        (2048, 4096), (101, 2048), (51, 2048),
    ]  # fmt: skip
    norms = [
        sum(
            isinstance(each, torch.nn.LocalResponseNorm)
            for each in TwoStreamNet("cnn_m", 3, 224, [2], 0.5, n).modules()
        )
        for n in (False, True)
    ]
    assert norms == [1, 2]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task": np.full(16, 2)}, "field task: expected 0 to 1, found 2; set classes"),
        ({"label": np.full(16, 2)}, "field label: expected 0 to 1 in task 0, found 2; set classes"),
    ],
)
async def test_classes_that_there_are_not_are_refused(change, problem):
    with pytest.raises(MessageError, match=problem):
        await drive(learner, batches=[Volumes(**{**vars(volumes()), **change})], **LEARN)


async def test_a_file_that_has_no_such_trunk_is_refused(tmp_path):
    with pytest.raises(MissingError, match="there is no such file"):
        await drive(learner, batches=[], pretrained=str(tmp_path / "gone.safetensors"), **LEARN)
    (tmp_path / "text.safetensors").write_bytes(b"no tensors")
    with pytest.raises(SettingError, match="is no safetensors file"):
        await drive(learner, batches=[], pretrained=str(tmp_path / "text.safetensors"), **LEARN)
    said = await drive(learner, batches=[volumes()], **LEARN)
    file = tmp_path / "other.safetensors"
    await drive(weights, weights=[said.weights[-1].message], file=str(file))
    with pytest.raises(SettingError, match=r"expected trunk.0.0.weight of shape \(24, 3, 5, 5\), found shape"):
        await drive(learner, batches=[], pretrained=str(file), **{**LEARN, "channels": 3})
