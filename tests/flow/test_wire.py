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
from flow.wire import CARRIES_MESSAGE, HEADER_MAX, INLINE_MAX, Kind, Schema, decode, encode
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


def framed(header, body=b"", *frames):
    raw = msgpack.packb(header) if not isinstance(header, bytes) else header
    raw += b"\0" * (-(len(raw) + 4) % 8)
    return [struct.pack("<I", len(raw)) + raw + body, *frames]


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
    refused_or_conforms(framed([1, kind, 0, 0, 0, 0, fields], body, *more), Exact)


def refused_or_conforms(frames, message):
    try:
        envelope = decode(frames, schema(message))
    except WireError:
        return
    if envelope.message is not None:
        check(envelope.message, message, {})


def entry(name="data", dtype="uint8", shape=(2,), where=-1):
    return [name, dtype, list(shape), where]


block = [["number", 1], entry()]
WRONG = [
    ([], "0 frames; expected 1 to 1024"),
    ([b""] * 1025, "1025 frames; expected 1 to 1024"),
    ([b"abc"], "the first frame has 3 bytes, fewer than its length field"),
    ([struct.pack("<I", 100) + b"abc"], "header of 100 bytes; the frame holds 7 and 65536 are allowed"),
    ([struct.pack("<I", HEADER_MAX + 1) + bytes(HEADER_MAX + 1)], "header of 65537 bytes"),
    (framed([2, 0, 0, 0, 0, 0, []]), "expected a header of format 1, found 2"),
    (framed([1, 0, 0, 0]), "expected a header of 7 values, found 4"),
    (framed({}), "malformed message"),
    (framed([1, 0, -1, 0, 0, 0, []]), "a header's values are counts, found [0, -1"),
    (framed([1, 0, True, 0, 0, 0, []]), "a header's values are counts"),
    (framed([1, 0, 0, 0, 0, 0, 5]), "malformed message"),
    (framed([1, 99, 0, 0, 0, 0, []]), "99 is not a valid Kind"),
    (framed([1, 1, 0, 0, 0, 0, block]), "END carries no message, but fields or frames came with it"),
    (framed([1, 2, 0, 0, 0, 0, []], b"", b"x"), "CREDIT carries no message, but fields or frames came with it"),
    (framed([1, 0, 7, 0, 0, 0, [7]]), "a field is a list that begins with its name, found 7"),
    (framed([1, 0, 0, 0, 0, 0, [entry("data/x")]], b"ab"), "field data/x came twice or is no table"),
    (framed([1, 0, 0, 0, 0, 0, [*block, entry()]], b"ab"), "field data came twice or is no table"),
    (framed([1, 0, 0, 0, 0, 0, [entry()]], b"ab"), "Block without field number"),
    (framed([1, 0, 0, 0, 0, 0, [["number", 1.5]]]), "field number: expected int, found [1.5]"),
    (framed([1, 0, 0, 0, 0, 0, [["data", 1]]]), "field data: an array is name, dtype, shape and place"),
    (framed([1, 0, 0, 0, 0, 0, [entry(dtype="object")]]), "field data: an array is name, dtype, shape and place"),
    (framed([1, 0, 0, 0, 0, 0, [entry(shape=[-1])]]), "field data: [-1] is no shape"),
    (framed([1, 0, 0, 0, 0, 0, [entry(shape=[1] * 17)]]), "exceeds max_array_len(16)"),
    (framed([1, 0, 0, 0, 0, 0, [entry(shape=[1, 2])]], b"ab"), "expected uint8 (bytes), found shape (1, 2)"),
    (framed([1, 0, 0, 0, 0, 0, [entry(dtype="int8")]], b"ab"), "expected uint8 (bytes), found dtype int8"),
    (framed([1, 0, 0, 0, 0, 0, [entry(where=1)]]), "field data: frame 1 of 1 is not there or already used"),
    (framed([1, 0, 0, 0, 0, 0, [entry(where=1)]], b"", b"abc"), "2 bytes by its shape, but frame 1 holds 3"),
    (framed([1, 0, 0, 0, 0, 0, [entry(shape=[99])]], b"ab"), "field data: bytes 0 to 99 of 2"),
    (framed([1, 0, 0, 0, 0, 0, [entry(where=-4)]], b"abcdef"), "field data: bytes 3 to 5 of 6"),
    (framed([1, 0, 0, 0, 0, 0, [entry(where=0)]], b"ab"), "field data: bytes -1 to 1 of 2"),
    (framed(b"\xc1"), "malformed message"),
    (framed(b"\x97" + b"\x91" * 1100), "malformed message"),
    (framed(b"\x97" + b"\x91" * 990 + bytes(7)), "malformed message"),
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
    header = [1, 0, 0, 0, 0, 0, [entry("values", "int64", [0]), entry("keys", "int64", [0])]]
    with pytest.raises(WireError, match=r"expected int64 \(rows\+1\), found shape \(0,\)"):
        decode(framed(header), schema(Exact))


@pytest.mark.parametrize(
    "header",
    [
        b"\x97" + b"\xdd\x00\x01\x00\x00" * 900,  # lists in lists, each said to hold 65536
        b"\xdd\x00\x01\x00\x00" * 13_000,
        b"\xdf\x00\x01\x00\x00" * 900,
        b"\x97\x01\x00\x00\x00\x00\x00\xdd\x00\x01\x00\x00" + b"\xdd\x00\x01\x00\x00" * 900,
        b"\x97\x01\x00\x00\x00\x00\x00\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
    ],
)
def test_a_header_that_promises_much_allocates_little(header):
    frames = framed(header[: HEADER_MAX - 8])
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode(frames, schema(Everything))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@given(depth=st.integers(1, 1100), at=st.integers(0, 7))
def test_lists_nested_to_any_depth_are_refused(depth, at):
    nested = b"\x91" * depth + b"\x01"
    header = [b"\x01"] + [b"\x00"] * 5 + [b"\x90"]
    if at < 7:
        header[at] = nested
    else:
        header[6] = b"\x91" + nested
    with pytest.raises(WireError):
        decode(framed(b"\x97" + b"".join(header)), schema(Block))


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
