"""Video files as arrays, by PyAV, which has FFmpeg's libraries in its package.

    frames(path)                 every frame in the order it is shown, RGB, turned upright, resized
    clip(path, start, count)     those frames of it, exactly, whatever the codec
    write(path, ...)             frames into a file

A file that cannot be used whole is refused with a reason. A frame is found by its time: an index of all times is read
from the packets, without decoding; the decoder starts at the key frame before and goes forward to the frame's time.
Nothing is taken from a container's own count of frames or its average rate: they are wrong in many files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flow import Array
from flow.errors import MissingError, StorageError

if TYPE_CHECKING:
    import av

# Of decoded RGB: above it one frame alone takes more memory than a decoder should hold. 8K is 100 MB.
FRAME_BYTES_MAX = 256 << 20


class Frame(NamedTuple):
    """image: (H, W, 3), uint8. time: seconds since the first frame."""

    image: Array
    time: float


class UnusableError(StorageError):
    """A video file cannot be used; the text says why, without its name."""


def frames(path: Path, side: int | None = None, threads: int = 1, seconds_max: float | None = None) -> Iterator[Frame]:
    """All frames of the first video stream, in the order they are shown.

    Args:
      side: the smallest side after resizing, in pixels; as it is if not given.
      threads: that decode one file.
      seconds_max: a video that is longer is refused: before anything is decoded where its header says so.

    Raises:
      UnusableError: it has no video, is damaged, too long, or holds fewer frames than it says.
    """
    with _opened(path) as container:
        stream = _stream(container)
        _require_size(stream.codec_context.width, stream.codec_context.height)
        _require_short(_told_seconds(container, stream), seconds_max, "its header says that it lasts")
        stream.codec_context.thread_count = threads
        scaler = _Scaler(side)
        first: float | None = None
        count = packets = 0
        try:
            for packet in container.demux(stream):
                packets += 1
                if packet.is_corrupt:
                    raise UnusableError(f"a packet after {count} frames is damaged")
                for decoded in packet.decode():
                    time = _time(decoded, stream, count)
                    first = time if first is None else first
                    _require_short(time - first, seconds_max, "it lasts at least")
                    yield Frame(scaler(decoded), time - first)
                    count += 1
        except _errors() as error:
            raise UnusableError(f"it is damaged after {count} frames: {_said(error)}") from error
        if count == 0:
            raise UnusableError("there is no frame in it")
        _require_whole(stream, packets - 1)  # the last one is empty: it flushes the decoder


def clip(path: Path, start: int, count: int, side: int | None = None) -> list[Frame]:
    """`count` frames from number `start` on, the very ones that `frames` gives; decodes from the key frame before.

    Raises:
      UnusableError: it is damaged there, or has fewer frames.
    """
    with _opened(path) as container:
        found = _sought(container, _stream(container), start, count, side)
    if found is None:  # its times are not all told, or do not tell which frame is which: count from the beginning
        found = list(islice(frames(path, side), start, start + count))
    if start < 0 or len(found) < count:
        raise UnusableError(f"frames {start} to {start + count - 1} are asked for; it has fewer")
    return found


def _sought(container: Any, stream: Any, start: int, count: int, side: int | None) -> list[Frame] | None:
    """The frames by their times; None where times do not tell them."""
    shown, keys = _times(container, stream)
    # AVI knows no times of frames that are not stored in the order they are shown.
    told = len(set(shown)) == len(shown) and not (container.format.name == "avi" and stream.codec_context.has_b_frames)
    if not told or not 0 <= start < start + count <= len(shown):
        return None
    wanted = {time: number for number, time in enumerate(shown)}
    scaler = _Scaler(side)
    before = [time for time in keys if time <= shown[start]]
    # Some containers seek to a key frame after the one asked for; then an earlier one is asked for.
    for key in before[:-4:-1]:
        container.seek(key, stream=stream, backward=True)
        found: dict[int, Frame] = {}
        try:
            for decoded in container.decode(stream):
                number = wanted.get(-1 if decoded.pts is None else decoded.pts, -1)
                if start <= number < start + count:
                    found[number] = Frame(scaler(decoded), float((decoded.pts - shown[0]) * stream.time_base))
                if len(found) == count or number >= start + count:
                    break
        except _errors() as error:
            raise UnusableError(f"it is damaged before frame {start + count}: {_said(error)}") from error
        if len(found) == count:
            return [found[number] for number in sorted(found)]
    return None


def write(
    path: Path,
    images: Sequence[Array],
    *,
    codec: str,
    rate: Fraction,
    options: Mapping[str, str],
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    rotation: int = 0,
) -> None:
    """Write frames into a file through an encoder; the name's ending says which container.

    Args:
      images: (H, W, 3) each, uint8, RGB.
      codec: FFmpeg's name of the encoder, such as "libx264".
      rate: frames per second.
      options: of the encoder.
      pixels: FFmpeg's name of the pixel format.
      times: when each frame is shown, in units of 1/rate; 0, 1, 2, … if not given.
      rotation: by how many degrees a player is to turn it, counterclockwise; only in .mp4 and .mov.
    """
    av = _av()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = 1 / rate
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class _Scaler:
    """Frames as RGB, upright, resized by FFmpeg's own scaler."""

    def __init__(self, side: int | None) -> None:
        from av.video.reformatter import VideoReformatter

        self.side = side
        # One for all frames: a frame's own would set FFmpeg's scaler up anew for each.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Array:
        width, height = frame.width, frame.height
        _require_size(width, height)
        if self.side is not None:
            ratio = self.side / min(width, height)
            width, height = max(1, round(width * ratio)), max(1, round(height * ratio))
        scaled = self._reformatter.reformat(frame, width, height, "rgb24", interpolation="BILINEAR")
        plane = scaled.planes[0]
        # A view of FFmpeg's memory, which lives as long as it: frames are copied once, into the array of several.
        pixels: Any = plane
        image = np.ndarray((height, width, 3), np.uint8, buffer=pixels, strides=(plane.line_size, 3, 1))
        turns = round(frame.rotation / 90) % 4
        # FFmpeg's angle is counterclockwise, as numpy's is.
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _av() -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingError('video files need PyAV: pip install "flow-research[video]"') from error
    return av


def _errors() -> tuple[type[BaseException], ...]:
    found: type[BaseException] = _av().error.FFmpegError
    return (found,)


def _said(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def _opened(path: Path) -> Any:
    av = _av()
    try:
        if path.stat().st_size == 0:
            raise UnusableError("it is empty")
        return av.open(str(path), metadata_errors="replace")
    except OSError as error:  # FFmpeg's errors of a file are OSErrors too
        raise UnusableError(f"it cannot be opened: {_said(error)}") from error
    except _errors() as error:
        raise UnusableError(f"it cannot be opened as a video: {_said(error)}") from error


def _stream(container: Any) -> Any:
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UnusableError(f"it has no video stream, only {kinds}")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise UnusableError("its codec is not known to this FFmpeg")
    return stream


def _require_size(width: int, height: int) -> None:
    """Before a frame is decoded by what the header says, and of each frame, since it may say otherwise."""
    if width * height * 3 > FRAME_BYTES_MAX:
        raise UnusableError(f"its frames have {width}x{height} pixels, more than {FRAME_BYTES_MAX >> 20} MiB each")


def _require_short(seconds: float, seconds_max: float | None, said: str) -> None:
    if seconds_max is not None and seconds > seconds_max:
        raise UnusableError(f"{said} {seconds:.6g} s, longer than seconds_max = {seconds_max:g}")


def _told_seconds(container: Any, stream: Any) -> float:
    """How long its header says that it is; 0 where it says nothing."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6  # FFmpeg's unit of a container is a microsecond


def _time(frame: Any, stream: Any, number: int) -> float:
    if frame.pts is not None:
        return float(frame.pts * stream.time_base)
    return number / float(stream.average_rate or 25)


def _times(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """When each frame is shown, and each key frame, in the stream's units; read from the packets.

    A packet without a time counts as time -1, so that two of them do not tell frames apart.
    """
    shown, keys = [], []
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                shown.append(-1 if packet.pts is None else packet.pts)
                if packet.is_keyframe:
                    keys.append(shown[-1])
    except _errors() as error:
        raise UnusableError(f"it is damaged: {_said(error)}") from error
    return sorted(shown), sorted(keys)


def _require_whole(stream: Any, packets: int) -> None:
    """A file that was cut off may decode without an error up to where it ends; many a whole one says one too many."""
    if stream.frames > packets + 1:
        raise UnusableError(f"it says that it has {stream.frames} frames and has {packets}: it was cut off")
