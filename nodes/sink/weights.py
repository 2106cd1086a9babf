"""A network's last weights in a file, from which another can start.

learner ┄┄ weights ┄┄► weights ──► FILE.safetensors
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import safetensors.numpy
import trio

from flow import Context, Latest, Promises, compute, node
from flow.setting import Beside
from nodes.messages import Weights
from nodes.sink.files import write_whole


@node(promises=Promises(given="nodes.given.video:written_weights"))
async def weights(weights: Latest[Weights], context: Context, *, file: Annotated[str, Beside()] = "") -> None:
    """Write the newest weights once no newer ones will come, as safetensors by parameter name; counts `files`.

    Args:
      file: relative to the graph; "weights.safetensors" in the node's place in the run directory if not given.
    """
    version = -1
    while True:
        try:
            await weights.wait(newer_than=version)
        except trio.EndOfChannel:
            break
        version = weights.version
    if (newest := weights.newest) is None:
        context.log("no weights came, so no file is written", "warning")
        return
    path = Path(file) if file else context.directory / "weights.safetensors"
    await compute(write_whole, path, lambda unfinished: safetensors.numpy.save_file(dict(newest.tensors), unfinished))
    context.metrics.count("files")
