"""A served module answers as it does when it is called alone, however it was stored and whoever else asks."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32, Int64

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from flow import Array, Context, Message  # noqa: E402
from flow.errors import MessageError, MissingError, SettingError  # noqa: E402
from flow.testing import drive  # noqa: E402
from nodes.given.served import Plain  # noqa: E402
from nodes.messages import Weights  # noqa: E402
from nodes.nets.in_flight import InFlight  # noqa: E402
from nodes.nets.programs import load_checkpoint, load_program  # noqa: E402
from nodes.nets.weights import weights_of  # noqa: E402
from nodes.serve.module import answer_type, module, module_with_weights  # noqa: E402
from tests.nodes.serve.modules_for_tests import Two  # noqa: E402

MODULES = "tests.nodes.serve.modules_for_tests"
ANSWERS = ["logits: float32 (rows, 2)", "values: float32 (rows)"]


class Question(Message, repeatable=True):
    features: Float32[Array, "lanes 3"]
    scale: Float32[Array, "lanes"]


class Answer(Message):
    logits: Float32[Array, "lanes 2"]
    values: Float32[Array, "lanes"]


def question(rows: int, seed: int) -> Question:
    rng = np.random.default_rng(seed)
    return Question(rng.standard_normal((rows, 3), np.float32), rng.standard_normal(rows, np.float32))


def alone(net: torch.nn.Module, asked: Question) -> list[np.ndarray]:
    with torch.inference_mode():
        answers = net.eval()(torch.from_numpy(asked.features.copy()), torch.from_numpy(asked.scale.copy()))
    answers = [answers["logits"], answers["values"]] if isinstance(answers, dict) else list(answers)
    return [each.numpy() for each in answers]


async def check(net: torch.nn.Module, rows: list[int], **given) -> None:
    asked = [question(count, seed) for seed, count in enumerate(rows)]
    result = await drive(module, requests=asked, **given)
    assert len(result.requests) == len(asked)
    for each, answer in zip(asked, result.requests, strict=True):
        for got, expected in zip((answer.logits, answer.values), alone(net, each), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, strict=True)


@settings(max_examples=15)
@given(
    rows=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    hidden=st.integers(1, 6),
    form=st.sampled_from(["tuple", "dict", "named"]),
    most=st.integers(1, 8),
    buckets=st.sampled_from([None, [4], [1, 32]]),
)
async def test_an_answer_is_what_the_module_gives_alone_whoever_else_asks(rows, hidden, form, most, buckets):
    net = Two(hidden, form=form)
    arguments = [f"hidden={hidden}", f"form='{form}'"]
    await check(
        net, rows, module=f"{MODULES}:Two", arguments=arguments, answers=ANSWERS, batch_max=most, buckets=buckets
    )


@settings(max_examples=8)
@given(rows=st.lists(st.integers(1, 5), min_size=1, max_size=6), most=st.integers(1, 8))
async def test_with_batches_under_way_all_are_answered_as_alone(rows, most):
    """As on a GPU, where the next batch is begun while one computes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InFlight, "overlaps", True)
        await check(Two(3), rows, module=f"{MODULES}:Two", arguments=["hidden=3"], answers=ANSWERS, batch_max=most)


@settings(max_examples=15)
@given(
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    rows_max=st.integers(1, 9),
    overlaps=st.booleans(),
    buckets=st.sampled_from([None, [7]]),
)
async def test_a_batch_that_does_not_fit_the_device_is_answered_in_parts_and_that_is_said(
    rows, rows_max, overlaps, buckets
):
    asked = [question(count, seed) for seed, count in enumerate(rows)]
    arguments = ["hidden=3", f"rows_max={rows_max}"]
    texts: list[str] = []
    context = Context("module", log=lambda text, level="info": texts.append(text))
    given = {"module": f"{MODULES}:Tight", "arguments": arguments, "answers": ANSWERS, "buckets": buckets}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InFlight, "overlaps", overlaps)
        result = await drive(module, requests=asked, context=context, **given)
    assert len(result.requests) == len(asked)
    for each, answer in zip(asked, result.requests, strict=True):
        for got, expected in zip((answer.logits, answer.values), alone(Two(3), each), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, strict=True)
    said = [line for line in texts if "no memory for larger batches" in line]
    if max(rows) > rows_max:
        assert said
    assert len(said) <= 4  # each says that the limit fell by half or more


async def test_a_row_that_does_not_fit_ends_the_node_with_what_torch_said():
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 1 rows") as caught:
        await drive(
            module, requests=[question(4, 0)], module=f"{MODULES}:Tight", arguments=["rows_max=0"], answers=ANSWERS
        )
    assert "a batch of one row does not fit" in str(caught.value.__notes__)


@settings(max_examples=5)
@given(rows=st.lists(st.integers(1, 5), min_size=1, max_size=4))
async def test_bfloat16_is_right_to_a_few_hundredths(rows):
    asked = [question(count, seed) for seed, count in enumerate(rows)]
    settings_ = {"module": f"{MODULES}:Two", "arguments": ["hidden=3"], "answers": ANSWERS}
    result = await drive(module, requests=asked, precision="bfloat16", **settings_)
    for each, answer in zip(asked, result.requests, strict=True):
        for got, expected in zip((answer.logits, answer.values), alone(Two(3), each), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0.05, atol=0.05, strict=True)


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A module in every form that can be served."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("modules")
    net, two = Plain().eval(), Two(5)
    with torch.no_grad():
        for parameter in two.parameters():
            parameter.add_(torch.randn_like(parameter))
    save_file(two.state_dict(), folder / "two.safetensors")
    torch.save(two.state_dict(), folder / "two.pt")
    torch.save(two, folder / "pickled.pt")
    with warnings.catch_warnings():  # torch.jit is deprecated, and its files are still about
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(net, (torch.zeros(3, 3), torch.zeros(3))).save(str(folder / "plain.ts"))
    rows = torch.export.Dim("rows")
    program = torch.export.export(net, (torch.zeros(3, 3), torch.zeros(3)), dynamic_shapes=({0: rows}, {0: rows}))
    torch.export.save(program, folder / "plain.pt2")
    return folder


@pytest.mark.parametrize("weights", ["two.safetensors", "two.pt"])
async def test_a_checkpoint_gives_the_weights(stored, weights):
    net = Two(5)
    net.load_state_dict(torch.load(stored / "two.pt", weights_only=True))
    await check(
        net,
        [2, 3],
        module=f"{MODULES}:Two",
        arguments=["hidden=5"],
        weights=str(stored / weights),
        answers=ANSWERS,
    )


@pytest.mark.parametrize("file", ["plain.ts", "plain.pt2"])
async def test_a_program_of_any_form_is_served(stored, file):
    await check(Plain(), [2, 3, 1], file=str(stored / file), answers=ANSWERS)


async def test_the_callers_decide_what_is_answered_where_the_settings_do_not():
    bound = module.bound({"Q": Question, "A": Answer}, {})
    asked = [question(2, 0)]
    result = await drive(bound, requests=asked, module=f"{MODULES}:Two")
    assert type(result.requests[0]) is Answer
    np.testing.assert_allclose(result.requests[0].logits, alone(Two(), asked[0])[0], rtol=1e-5)


async def test_inputs_are_named_in_the_modules_order():
    class Turned(Message):
        scale: Float32[Array, "lanes"]
        number: Int64[Array, "lanes"]
        features: Float32[Array, "lanes 3"]

    asked = question(3, 1)
    turned = Turned(asked.scale, np.zeros(3, np.int64), asked.features)
    result = await drive(
        module, requests=[turned], module=f"{MODULES}:Two", inputs=["features", "scale"], answers=ANSWERS
    )
    np.testing.assert_allclose(result.requests[0].logits, alone(Two(), asked)[0], rtol=1e-5)
    text = "inputs = 'feature': Turned has no field 'feature'; did you mean 'features'?"
    with pytest.raises(SettingError, match=text):
        module.binds({"inputs": ["feature"], "answers": None}, {"Q": Turned})


async def test_weights_are_swapped_between_batches_and_answers_say_which():
    first, second = Two(4), Two(4)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1.0)
    asked = question(2, 3)
    result = await drive(
        module_with_weights,
        requests=[(0.0, asked), (2.0, asked)],
        weights=[(0.5, Weights(weights_of(first))), (1.0, Weights(weights_of(second)))],
        module=f"{MODULES}:Two",
        answers=[*ANSWERS, "version: int"],
    )
    for net, version, answer in zip((first, second), (0, 1), result.requests, strict=True):
        assert answer.version == version
        np.testing.assert_allclose(answer.logits, alone(net, asked)[0], rtol=1e-5, atol=1e-6)


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


def test_no_pickle_is_opened(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = io.BytesIO()
    torch.save({"weights": Evil()}, evil)
    poisoned = tmp_path / "evil.pt2"
    with zipfile.ZipFile(stored / "plain.pt2") as good, zipfile.ZipFile(poisoned, "w") as bad:
        for entry in good.namelist():
            content = good.read(entry)
            bad.writestr(entry, evil.getvalue() if entry.endswith(".pt") else content)
    cpu = torch.device("cpu")
    with pytest.raises(SettingError, match=r"evil.pt2' holds more than a program and its tensors, and is not opened"):
        load_program(poisoned, cpu)
    with pytest.raises(SettingError, match=r"pickled.pt' cannot be read: it calls tests.*Two; write it with"):
        load_checkpoint(Two(5), stored / "pickled.pt", cpu)
    (tmp_path / "evil.pt").write_bytes(evil.getvalue())
    with pytest.raises(SettingError, match=r"evil.pt' cannot be read: it calls getattr"):
        load_checkpoint(Two(5), tmp_path / "evil.pt", cpu)
    assert not (tmp_path / "unpickled").exists()
    described = tmp_path / "described.pt2"
    with zipfile.ZipFile(described, "w") as archive:
        archive.writestr("x/model_constants_config.json", '{"config": {"it": {"path_name": "opaque_obj_0"}}}')
    with pytest.raises(SettingError, match="holds it as a pickle, which is not opened; export it with tensors alone"):
        load_program(described, cpu)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, SettingError, "give either module, which makes it, or file, which holds it"),
        ({"module": "a:B", "file": "b"}, SettingError, "found module = 'a:B' and file = 'b'"),
        ({"file": "b.ts", "weights": "c"}, SettingError, "holds its weights; leave out weights and arguments"),
        ({"module": f"{MODULES}:Tow"}, SettingError, "has no class 'Tow'; did you mean 'Two'?"),
        ({"module": f"{MODULES}:Two", "arguments": ["width=3"]}, SettingError, "cannot be made with {'width': 3}"),
        ({"module": f"{MODULES}:no_module"}, SettingError, "makes a int, no torch.nn.Module"),
        ({"module": f"{MODULES}:Two", "weights": "/nowhere.pt"}, MissingError, "there is no checkpoint at /nowhere.pt"),
        ({"file": "/nowhere.ts"}, MissingError, "there is no program at /nowhere.ts"),
        ({"module": f"{MODULES}:Two", "device": "gpu"}, SettingError, "device='gpu' is no device"),
    ],
)
async def test_what_cannot_be_served_says_why(given, error, text):
    with pytest.raises(error, match=text):
        await drive(module, requests=[question(1, 0)], answers=ANSWERS, **given)


async def test_weights_of_another_module_are_refused(stored):
    with pytest.raises(SettingError, match=r"weights = .*two.pt' are not of a Plain: .*inner.weight"):
        await drive(
            module,
            requests=[question(1, 0)],
            module="nodes.given.served:Plain",
            weights=str(stored / "two.pt"),
            answers=ANSWERS,
        )
    with pytest.raises(SettingError, match=r"file = .*two.safetensors' is no TorchScript"):
        await drive(module, requests=[question(1, 0)], file=str(stored / "two.safetensors"), answers=ANSWERS)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (["logits: float32 (rows, 2)"], "the module returned 2 tensors, the answer has logits; say what it returns"),
        (["a: float32 (rows, 2)", "b: float32 (rows, 1)"], "field b: expected float32"),
        (["a: float64 (rows, 2)", "b: float32 (rows)"], "field a: expected float64"),
    ],
)
async def test_an_answer_of_another_form_is_refused(answers, text):
    bound = module.bound({"Q": Question, "A": answer_type(answers, Question.fields[0].dims[0])}, {})
    with pytest.raises(MessageError, match=text):
        await drive(bound, requests=[question(1, 0)], module=f"{MODULES}:Two")


@pytest.mark.parametrize("text", ["logits", "logits: float33 (rows)", "logits: float32", "x: int", "x: float32 (a-b)"])
def test_an_answer_that_is_not_understood_is_refused(text):
    with pytest.raises(
        SettingError, match='is not understood; write "name: dtype \\(rows, …\\)" as in "logits: float32'
    ):
        answer_type([text])


def test_answers_are_declared_as_flow_prints_them():
    made = answer_type(["logits: float32 (rows, 2)", "tail: int64 (rows, ...)", "version: int"])
    assert [str(field) for field in made.fields] == ["float32 (rows, 2)", "int64 (rows, ...)", "int"]
