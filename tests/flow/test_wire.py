"""Messages to bytes and back; and whatever else comes is refused, cheaply."""

from __future__ import annotations

import struct
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32, Int64

from flow import Array, Message, Tensor
from flow.errors import MessageError, WireError
from flow.message import check
from flow.testing import messages
from flow.wire import HEADER_MAX, INLINE_MAX, Kind, Schema, decode, encode
from flow.wire_layout import CARRIES_MESSAGE
from tests.flow.sample_messages import Block, Everything, same

counts = st.integers(0, (1 << 63) - 1)


class Text(Message):
    text: str


class Cores(Message):
    cores: Float32[Tensor, "rows core"]


class Exact(Message):
    keys: Int64[Array, "rows"]
    values: Int64[Array, "rows+1"]


def carried(frames):
    """The frames as another process has them."""
    return [bytes(frame) for frame in frames]


def schema(message, **sizes):
    return lambda kind, link: Schema(message, sizes)


def framed(fields=(), body=b"", *frames, values=(), version=2, kind=0, numbers=(0, 0, 0, 0)):
    """Frames whose prefix is in order unless it is said otherwise; fields and values may be bytes."""
    fields = fields if isinstance(fields, bytes) else msgpack.packb(fields)
    values = values if isinstance(values, bytes) else msgpack.packb(values)
    raw = struct.pack("<BB2xII4xQQQQ", version, kind % 256, len(fields), len(values), *numbers) + fields + values
    return [raw + bytes(-len(raw) % 8) + body, *frames]


@given(
    message=messages(Everything, count=st.integers(-(1 << 63), (1 << 64) - 1)),
    kind=st.sampled_from(sorted(CARRIES_MESSAGE)),
    numbers=st.tuples(counts, counts, counts, counts),
)
def test_a_message_arrives_as_it_was_sent(message, kind, numbers):
    link, sequence, epoch, number = numbers
    frames, size = encode(kind, link, sequence, epoch, number, message)
    envelope = decode(carried(frames), schema(Everything))
    assert same(message, envelope.message)
    assert envelope.size == size
    assert (envelope.kind, envelope.link, envelope.sequence, envelope.epoch, envelope.number) == (kind, *numbers)


@given(kind=st.sampled_from(sorted(set(Kind) - CARRIES_MESSAGE)), numbers=st.tuples(counts, counts, counts, counts))
def test_a_message_about_messages_arrives_as_it_was_sent(kind, numbers):
    envelope = decode(carried(encode(kind, *numbers)[0]), lambda kind, link: None)
    assert (envelope.kind, envelope.link, envelope.sequence, envelope.epoch, envelope.number) == (kind, *numbers)


@given(
    size=st.sampled_from([0, 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 3 * INLINE_MAX]),
    step=st.sampled_from([1, 2, -1]),
)
def test_arrays_of_any_size_and_stride_arrive_as_read_only_views(size, step):
    sent = Block(7, np.arange(size * abs(step), dtype=np.uint8)[::step])
    frames = carried(encode(Kind.DATA, 0, 0, 0, 0, sent)[0])
    got = decode(frames, schema(Block)).message
    assert len(frames) == (2 if size >= INLINE_MAX else 1)
    assert same(sent, got)
    assert not got.data.flags.writeable
    assert not got.data.flags.owndata


def test_a_large_array_is_sent_without_a_copy():
    data = np.zeros(INLINE_MAX, np.uint8)
    frames, _ = encode(Kind.DATA, 0, 0, 0, 0, Block(0, data))
    data[5] = 9
    assert frames[1][5] == 9


def test_big_endian_arrays_arrive_in_the_order_of_this_machine():
    sent = Exact(np.array([1, -2], ">i8"), np.arange(9, dtype=">i8")[::3])
    got = decode(carried(encode(Kind.DATA, 0, 0, 0, 0, sent)[0]), schema(Exact)).message
    assert same(sent, got)


def test_tensors_arrive_as_arrays():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3).T.requires_grad_()
    got = decode(carried(encode(Kind.DATA, 0, 0, 0, 0, Cores(tensor))[0]), schema(Cores)).message
    np.testing.assert_array_equal(got.cores, tensor.detach().numpy())


@given(frames=st.lists(st.binary(max_size=200), max_size=3))
def test_any_bytes_are_refused_or_conform(frames):
    refused_or_conforms(frames, Everything)


@given(
    message=messages(Everything),
    data=st.data(),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_mutated_frames_are_refused_or_conform(message, data, flips):
    frames = [bytearray(frame) for frame in encode(Kind.DATA, 1, 2, 3, 4, message)[0]]
    for where, value in flips:
        frames[0][int(where * (len(frames[0]) - 1))] = value
    cut = data.draw(st.integers(0, len(frames[0])))
    if data.draw(st.booleans()):
        del frames[0][cut:]
    refused_or_conforms([bytes(frame) for frame in frames], Everything)


values = st.recursive(
    st.one_of(st.integers(-(1 << 63), (1 << 64) - 1), st.floats(), st.booleans(), st.none(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=8,
)
fields = st.lists(
    st.one_of(
        values,
        st.tuples(
            st.sampled_from(["keys", "values", "keys/a", "other"]),
            st.sampled_from(["int64", "float32", "object", "<i8"]),
            st.lists(st.integers(-1, 4) | st.sampled_from([1 << 47, 1 << 62]), max_size=3),
            st.integers(-20, 3),
        ).map(list),
    ),
    max_size=4,
)


@given(fields=fields, body=st.binary(max_size=64), kind=st.integers(-1, 9), more=st.lists(st.binary(max_size=16)))
def test_well_formed_headers_with_wrong_contents_are_refused_or_conform(fields, body, kind, more):
    refused_or_conforms(framed(fields, body, *more, kind=kind), Exact)


def refused_or_conforms(frames, message):
    try:
        envelope = decode(frames, schema(message))
    except WireError:
        return
    if envelope.message is not None:
        check(envelope.message, message, {})


def entry(name="data", dtype="uint8", shape=(2,), where=-1):
    return [name, dtype, list(shape), where]


block = [["number"], entry()]
WRONG = [
    ([], "0 frames; expected 1 to 1024"),
    ([b""] * 1025, "1025 frames; expected 1 to 1024"),
    ([b"abc"], "the first frame has 3 bytes, fewer than its prefix of 48"),
    ([framed(block)[0][:50]], "bytes; the frame holds 50 and 65536 are allowed"),
    (framed(bytes(HEADER_MAX), values=b"1"), "header of 65536 and 1 bytes"),
    (framed(version=3), "expected a message of format 2, found 3"),
    (framed({}), "malformed message"),
    (framed(numbers=(0, 1 << 63, 0, 0)), "a prefix's counts have 63 bits, found (0, 9223372036854775808"),
    (framed(5), "malformed message"),
    (framed(kind=99), "99 is not a valid Kind"),
    (framed(block, kind=1), "END carries no message, but fields or frames came with it"),
    (framed(b"", b"", b"x", values=b"", kind=2), "CREDIT carries no message, but fields or frames came with it"),
    (framed([7]), "a field is a list that begins with its name, found 7"),
    (framed([entry("data/x")], b"ab"), "field data/x came twice or is no table"),
    (framed([*block, entry()], b"ab", values=[1]), "field data came twice or is no table"),
    (framed([entry()], b"ab"), "Block without field number"),
    (framed([["number", 1]]), "field number: expected int, found [1]"),
    (framed(block, b"ab", values=[1.5]), "field number: expected int, found 1.5"),
    (framed(block, b"ab", values=[True]), "field number: expected int, found True"),
    (framed(block, b"ab"), "expected 1 values, found []"),
    (framed(block, b"ab", values=b""), "malformed message"),
    (framed(block, b"ab", values=5), "expected 1 values, found 5"),
    (framed(block, b"ab", values=[1, 2]), "exceeds max_array_len(1)"),
    (framed(block, b"ab", values=b"\x91\x01\x01"), "malformed message"),
    (framed([["number"]] * 40, values=[1]), "field number came twice or is no table"),
    (framed([["data", 1]]), "field data: an array is name, dtype, shape and place"),
    (framed([["data"]]), "field data: an array is name, dtype, shape and place"),
    (framed([entry(dtype="object")]), "field data: an array is name, dtype, shape and place"),
    (framed([entry(shape=[-1])]), "field data: [-1] is no shape"),
    (framed([entry(shape=[1] * 17)]), "exceeds max_array_len(16)"),
    (framed([entry(shape=[1, 2])], b"ab"), "expected uint8 (bytes), found shape (1, 2)"),
    (framed([entry(dtype="int8")], b"ab"), "expected uint8 (bytes), found dtype int8"),
    (framed([entry(where=1)]), "field data: frame 1 of 1 is not there or already used"),
    (framed([entry(where=1)], b"", b"abc"), "2 bytes by its shape, but frame 1 holds 3"),
    (framed([entry(shape=[99])], b"ab"), "field data: bytes 0 to 99 of 2"),
    (framed([entry(where=-4)], b"abcdef"), "field data: bytes 3 to 5 of 6"),
    (framed([entry(where=0)], b"ab"), "field data: bytes -1 to 1 of 2"),
    (framed(b"\xc1"), "malformed message"),
    (framed(b"\x90\x90"), "a list of 0 items takes 1 of 2 bytes"),
    (framed(b"\x91" * 1100), "malformed message"),
    (framed(b"\x91" * 990 + bytes(7)), "a list of 1 items takes 991 of 997 bytes"),
    (framed(b"\x91" * 990 + bytes(1)), "malformed message"),
]


@pytest.mark.parametrize(("frames", "said"), WRONG, ids=[f"{at} {said[:40]}" for at, (_, said) in enumerate(WRONG)])
def test_what_is_wrong_is_said(frames, said):
    with pytest.raises(WireError) as caught:
        decode(frames, schema(Block))
    assert said in str(caught.value)


def test_a_link_that_is_not_there_takes_nothing():
    with pytest.raises(WireError, match="no link 3 takes DATA"):
        decode(carried(encode(Kind.DATA, 3, 0, 0, 0, Block(1, np.zeros(0, np.uint8)))[0]), lambda kind, link: None)


def test_sizes_that_settings_fix_are_held():
    frames = carried(encode(Kind.DATA, 0, 0, 0, 0, Block(1, np.zeros(3, np.uint8)))[0])
    with pytest.raises(WireError, match=r"expected uint8 \(bytes\) with bytes = 4, found shape \(3,\)"):
        decode(frames, schema(Block, bytes=4))


def test_a_size_below_what_is_added_to_its_name_is_no_size():
    header = [entry("values", "int64", [0]), entry("keys", "int64", [0])]
    with pytest.raises(WireError, match=r"expected int64 \(rows\+1\), found shape \(0,\)"):
        decode(framed(header), schema(Exact))


PROMISES = [
    b"\x97" + b"\xdd\x00\x01\x00\x00" * 900,  # lists in lists, each said to hold 65536
    b"\xdd\x00\x01\x00\x00" * 13_000,
    b"\xdf\x00\x01\x00\x00" * 900,
    b"\xdd\x00\x01\x00\x00" + b"\xdd\x00\x01\x00\x00" * 900,
    b"\xdd\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xdc\x00\x20" * 1000,
]


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("scalars", [None, 1, 32, 33, 500])
def test_a_header_that_promises_much_allocates_little(promise, scalars):
    promise = promise[: HEADER_MAX - 8192]
    fields = [*block, *[["other"]] * (scalars - 1)] if scalars else promise
    frames = framed(fields, b"ab", values=promise if scalars else ())
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode(frames, schema(Block if scalars else Everything))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@given(depth=st.integers(1, 1100), field=st.booleans(), at=st.integers(0, 1))
def test_lists_nested_to_any_depth_are_refused(depth, field, at):
    nested = b"\x91" * depth + b"\x01"
    header = [msgpack.packb(block), b"\x91\x01"]
    header[at] = b"\x91" + nested if field else nested
    if header[1] == b"\x91\x01":
        header[0] = nested
    with pytest.raises(WireError):
        decode(framed(header[0], b"ab", values=header[1]), schema(Block))


@given(values=st.lists(st.sampled_from([1, 2.5, "text", True]), min_size=1, max_size=70))
def test_scalars_this_end_does_not_read_are_passed_over(values):
    fields = [["other"] for _ in values] + block
    got = decode(framed(fields, b"ab", values=[*values, 7]), schema(Block)).message
    assert same(got, Block(7, np.frombuffer(b"ab", np.uint8)))


@given(numbers=st.lists(st.integers(0, 99), min_size=2, max_size=9))
def test_messages_that_differ_in_values_alone_share_their_layout(numbers):
    link = Schema(Block, {})
    for number in numbers:
        sent = Block(number, np.full(3, number, np.uint8))
        assert same(sent, decode(carried(encode(Kind.DATA, 0, 0, 0, 0, sent)[0]), lambda *_: link).message)
    assert len(link.layouts) == 1


def test_what_a_receiver_would_refuse_cannot_be_sent():
    with pytest.raises(MessageError, match="Text: its texts"):
        encode(Kind.DATA, 0, 0, 0, 0, Text("x" * HEADER_MAX))
    table = {str(n): np.zeros(INLINE_MAX // 4, np.float32) for n in range(1100)}
    empty = np.zeros((0, 2, 3), np.uint8), np.zeros(0, bool), np.zeros((0, 1)), np.zeros(0, np.complex64)
    with pytest.raises(MessageError, match="Everything"):
        encode(Kind.DATA, 0, 0, 0, 0, Everything(*empty, np.zeros(()), table, 0, 0.0, False, ""))
    with pytest.raises(MessageError, match="64 bits"):
        encode(Kind.DATA, 0, 0, 0, 0, Block(1 << 64, np.zeros(0, np.uint8)))


@given(text=st.integers(0, HEADER_MAX - 100))
def test_text_of_any_length_that_can_be_sent_arrives(text):
    frames = carried(encode(Kind.DATA, 0, 0, 0, 0, Text("x" * text))[0])
    assert decode(frames, schema(Text)).message.text == "x" * text
