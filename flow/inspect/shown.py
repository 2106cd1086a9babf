"""Messages that show more of themselves than numbers: a game's board, for instance, as text.

    class Positions(Message, shown="nodes.games.shown:boards"): ...

A message type names a function that makes texts of a message's fields, which is called where a sample is looked at and
never in a node. What it can know beside the fields are the settings of the run's nodes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flow.errors import FlowError, MissingError
from flow.graph.load import load_graph
from flow.graph.model import Graph
from flow.inspect.samples import Sample, SampledArray
from flow.message import Array
from flow.node_files import import_named
from flow.run_directory import RunDirectory

Shown = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], list[str]]
NO_PILLOW = "pictures are written with Pillow, which is not installed; run: pip install 'flow-research[inspect]'"
LETTER_PIXELS = (7, 15)


class Shower:
    """Says what messages at one port of a run show of themselves.

    run: whose graph names the node types. node, port: where samples are taken.
    """

    def __init__(self, run: RunDirectory, node: str, port: str) -> None:
        self._run, self._node, self._port = run, node, port

    @functools.cached_property
    def _graph(self) -> Graph | None:
        try:
            return load_graph(self._run.graph_file)
        except FlowError:  # its nodes are not to be found from here, a notebook's for instance: numbers are shown alone
            return None

    def texts(self, sample: Sample) -> list[str]:
        """What a sample shows; nothing where its message type names no function."""
        node = self._graph.nodes.get(self._node) if self._graph is not None else None
        if self._graph is None or node is None or self._port not in node.type.ports:
            return []
        types = node.type.ports[self._port].messages
        shown = next((each.shown for each in types if each.__name__ == sample.type), "")
        if not shown:
            return []
        module, _, name = shown.rpartition(":")
        function: Shown = getattr(import_named(module), name)
        fields = {key: each.values if isinstance(each, SampledArray) else each for key, each in sample.fields.items()}
        others = [each.settings for key, each in self._graph.nodes.items() if key != self._node]
        return function(fields, [node.settings, *others])


def picture_of_text(text: str) -> Array:
    """Text as a picture, black on white: uint8 (height, width).

    Raises:
      MissingError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont  # only who saves pictures needs it
    except ImportError as error:
        raise MissingError(NO_PILLOW) from error

    lines = text.splitlines() or [""]
    width, height = LETTER_PIXELS
    picture = Image.new("L", (width * (max(map(len, lines)) + 2), height * (len(lines) + 1)), 255)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for row, line in enumerate(lines):
        for column, letter in enumerate(line):  # letter by letter: the font is not of one width
            draw.text((width * (column + 1), height * row + height // 2), letter, fill=0, font=font)
    return np.asarray(picture)
