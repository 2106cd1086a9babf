"""What a replay store tells of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statistics:
    """What a replay store holds and has done."""

    chunks: int
    steps: int
    stored_bytes: int
    """Of encoded chunks; the file is larger by what LMDB rounds up to pages."""
    bytes_per_step: float
    fill: float
    """How full it is, 0 to 1, by steps or bytes, whichever is nearer its capacity."""
    appended_steps: int
    """Since the store was made."""
    evicted_steps: int
    """Since the store was made."""
    drawn_windows: int
    """Since it was opened."""
    redrawn_windows: int
    """Drawn, and evicted before they were read; since it was opened."""
    read_rows: int
    """Steps of windows and reads, since it was opened."""
    streams: int
    """Ever recorded, evicted ones too."""
    segments: int
    episodes: int
