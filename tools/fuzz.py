"""Gives the wire's decoder what nobody should send, as fast as one core can, and looks at what it makes of it.

    python -m tools.fuzz --seconds 60 --seed 1

Frames come from three places: the corpus in tests/flow/wire_corpus, of which each file is a message's frames as
`frames_of` reads them; mutations of those and of good messages, which are most; and headers that are good msgpack and
bad messages. Whatever comes, the decoder may raise `WireError` and nothing else, and what it accepts must conform to
its type. Peak memory is measured beside it, on frames that promise much. What breaks a rule is written into the corpus.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import struct
import sys
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack
import numpy as np

from flow import Message
from flow.errors import MessageError, WireError
from flow.message import check
from flow.wire import Kind, Schema, decode, encode
from flow.wire_layout import BEGIN, FORMAT, PREFIX
from tests.flow.sample_messages import Block, Everything, Question

CORPUS = Path(__file__).parents[1] / "tests" / "flow" / "wire_corpus"
TYPES: tuple[type[Message], ...] = (Block, Everything, Question)
MEMORY_MAX = 1 << 20
BATCH = 2000
_LENGTH = struct.Struct("<BI")


def frames_of(raw: bytes) -> tuple[int, list[bytes]]:
    """Which type reads it, and the frames: in a file, a byte and a length before each frame."""
    frames, at, kind = [], 0, 0
    while at + _LENGTH.size <= len(raw):
        kind, size = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        frames.append(raw[at : at + size])
        at += size
    return kind % len(TYPES), frames


def file_of(kind: int, frames: Sequence[bytes]) -> bytes:
    """What `frames_of` reads."""
    return b"".join(_LENGTH.pack(kind, len(frame)) + bytes(frame) for frame in frames)


def schemas() -> list[Schema]:
    """What the decoder holds each type against; layouts are learned, as in a hub."""
    return [Schema(kind, {}) for kind in TYPES]


def problem(schema: Schema, frames: Sequence[bytes]) -> str:
    """What the decoder did that it must not, "" if nothing."""
    try:
        message = decode(frames, lambda kind, link: schema).message
    except WireError:
        return ""
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    if message is not None:
        try:
            check(message, schema.message, schema.sizes)
        except MessageError as error:
            return f"accepted, and does not conform: {error}"
    return ""


def good(rng: random.Random) -> tuple[int, list[bytes]]:
    """A message as it is sent."""
    kind = rng.randrange(len(TYPES))
    rows = rng.randrange(4)
    numbers = np.random.default_rng(rng.getrandbits(32))
    message: Message
    if kind == 0:
        message = Block(rng.getrandbits(40), numbers.integers(0, 256, rng.choice((0, 3, 200)), np.uint8))
    elif kind == 1:
        message = Everything(
            frames=numbers.integers(0, 256, (rows, 4, 3), np.uint8),
            flags=np.ones(rows, bool),
            values=np.zeros((rows, 2)),
            waves=np.zeros((2, rows), np.complex64),
            moment=np.array(7),
            weights={str(key): np.ones(key, np.float32) for key in range(rows)},
            count=rng.getrandbits(30),
            rate=rng.random(),
            done=True,
            text="text" * rows,
        )
    else:
        message = Question(numbers.integers(0, 9, rows))
    frames, _ = encode(rng.choice((Kind.DATA, Kind.QUESTION)), 1, 2, 3, 4, message)
    return kind, [bytes(frame) for frame in frames]


def mutated(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    """Bytes changed, cut, repeated or put in, most often near the front where the header is."""
    first = bytearray(frames[0]) if frames else bytearray()
    for _ in range(rng.randrange(1, 4)):
        at = min(int(rng.expovariate(1 / 60)), max(len(first) - 1, 0))
        match rng.randrange(6):
            case 0 | 1 if first:
                first[at] = rng.getrandbits(8)
            case 2 if first:
                first[at] ^= 1 << rng.randrange(8)
            case 3:
                del first[at : at + rng.randrange(1, 9)]
            case 4:
                first[at:at] = first[at : at + rng.randrange(1, 9)]
            case 5:
                first[at:at] = rng.randbytes(rng.randrange(1, 5))
    more = frames[1:]
    if rng.random() < 0.1:
        more = [rng.randbytes(rng.randrange(20)) for _ in range(rng.randrange(3))]
    return [bytes(first), *more]


def _value(rng: random.Random, depth: int = 0) -> object:
    match rng.randrange(8 if depth < 3 else 6):
        case 0:
            return rng.choice((0, 1, -1, 5, 1 << 40, (1 << 64) - 1, -(1 << 63)))
        case 1:
            return rng.choice(("keys", "number", "data", "uint8", "int64", "float32", "weights/a", ""))
        case 2:
            return rng.random()
        case 3:
            return rng.choice((True, False, None))
        case 4:
            return rng.randbytes(3)
        case 5:
            return [rng.choice(("data", "keys")), rng.choice(("uint8", "int64")), [rng.randrange(10)], -1]
        case 6:
            return [_value(rng, depth + 1) for _ in range(rng.randrange(5))]
        case _:
            return {str(key): _value(rng, depth + 1) for key in range(rng.randrange(3))}


def structured(rng: random.Random) -> list[bytes]:
    """A prefix in order, and fields and values that are msgpack and make no sense."""
    fields = msgpack.packb([_value(rng) for _ in range(rng.randrange(6))])
    values = msgpack.packb([_value(rng) for _ in range(rng.randrange(4))])
    head = PREFIX.pack(FORMAT, rng.randrange(9), len(fields), len(values), 1, 0, 0, 0) + fields + values
    return [head + bytes(-(BEGIN + len(fields) + len(values)) % 8) + rng.randbytes(rng.randrange(30))]


@dataclass
class Count:
    """How many were given, and how long decoding and checking them took."""

    frames: int = 0
    seconds: float = 0.0


def fuzz(
    seconds: float, seed: int, corpus: list[tuple[int, list[bytes]]]
) -> tuple[Count, tuple[int, list[bytes], str] | None]:
    """Fuzz for so long; the count, and what broke a rule first, with what it did."""
    rng = random.Random(seed)
    count, read = Count(), schemas()
    seeds = [*corpus, *(good(rng) for _ in range(200))]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        made = []
        for _ in range(BATCH):
            kind, frames = rng.choice(seeds)
            made.append((kind, structured(rng) if rng.random() < 0.15 else mutated(rng, frames)))
        began = time.perf_counter()
        for kind, frames in made:
            said = problem(read[kind], frames)
            if said:
                return count, (kind, frames, said)
        count.seconds += time.perf_counter() - began
        count.frames += len(made)
    return count, None


def peak(frames: list[bytes], schema: Schema) -> int:
    """The most bytes that decoding took, beyond the frames."""
    tracemalloc.start()
    try:
        problem(schema, frames)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_corpus() -> list[tuple[int, list[bytes]]]:
    """All of it, by file name."""
    return [frames_of(path.read_bytes()) for path in sorted(CORPUS.glob("*.frames"))]


def main() -> int:
    """Fuzz, measure memory, tell."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    corpus = read_corpus()
    began = time.monotonic()
    count, found = fuzz(arguments.seconds, arguments.seed, corpus)
    rng = random.Random(arguments.seed)
    kinds = [frames for _ in range(500) for frames in (corpus[rng.randrange(len(corpus))], (0, structured(rng)))]
    most = max(peak(frames, schemas()[kind]) for kind, frames in kinds)
    rate = count.frames / max(count.seconds, 1e-9)
    print(
        f"{count.frames} malformed messages in {time.monotonic() - began:.0f} s, {rate:.0f}/s a core decoded and "
        f"checked; at most {most} bytes of memory a message; seed {arguments.seed}"
    )
    if found is not None:
        kind, frames, said = found
        raw = file_of(kind, frames)
        path = CORPUS / f"{hashlib.sha256(raw).hexdigest()[:12]}.frames"
        path.write_bytes(raw)
        print(f"VIOLATION: {said}\nwritten to {path}")
    return 1 if found is not None or most > MEMORY_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
