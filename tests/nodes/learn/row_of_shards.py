"""Modules to be split, and their shards run in a row, joined in memory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import trio
from torch import Tensor, nn

from flow.computing import current_threads
from flow.context import Context, Live
from flow.saved import Saved, pack, unpack
from flow.testing.harness import InTheLoop
from flow.testing.memory_ports import publish_to, stream
from nodes.learn.classifier import Labelled
from nodes.learn.pipeline import Activations, Gradients
from nodes.learn.shard import first, inner, last
from nodes.messages import Weights
from nodes.nets.split import seeded

CLASSES, INPUTS = 3, 6
torch.set_num_threads(1)  # modules this small: more threads wait for each other


class Mlp(nn.Sequential):
    """Eight blocks on vectors; some without parameters, some that work in place."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(INPUTS, 7), nn.ReLU(inplace=True), nn.Linear(7, 9), nn.Tanh(), nn.LayerNorm(9), nn.Linear(9, 5),
            nn.GELU(), nn.Linear(5, CLASSES),
        )  # fmt: skip


class Residual(nn.Module):
    """Blocks of several layers that add to what they get, by `blocks()`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([Added(INPUTS, 4 + n) for n in range(5)])
        self.head = nn.Linear(INPUTS, CLASSES)

    def blocks(self) -> list[nn.Module]:
        return [*self.body, self.head]


class Added(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, values: Tensor) -> Tensor:
        return values + self.layers(values)


class Pictures(nn.Sequential):
    """Convolutions on the same numbers as pictures of one channel."""

    def __init__(self) -> None:
        super().__init__(
            nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2, padding=1), nn.ReLU(), nn.GroupNorm(2, 4),
            nn.Conv2d(4, 2, 2), nn.Flatten(), nn.Linear(12, CLASSES),
        )  # fmt: skip


class Drawing(nn.Sequential):
    """Dropout, as a module and inside a layer of attention."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(INPUTS, 8), nn.Dropout(0.3), nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, CLASSES))


class Normalised(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(INPUTS, 4), nn.BatchNorm1d(4), nn.Linear(4, CLASSES))


MODULES = {"Mlp": Mlp, "Residual": Residual, "Pictures": Pictures}


def named(kind: type[nn.Module]) -> str:
    return f"{__name__}:{kind.__name__}"


def whole(kind: type[nn.Module], seed: int = 0) -> list[nn.Module]:
    """The blocks of the unsplit module, as its shards make them."""
    with seeded(str(seed)):
        module = kind()
    return module.blocks() if hasattr(module, "blocks") else list(module)


def batches(count: int, rows: int, seed: int = 0) -> list[Labelled]:
    rng = np.random.default_rng(seed)
    images = [rng.normal(size=(rows, INPUTS)).astype(np.float32) for _ in range(count)]
    return [Labelled(image, np.abs(image).argmax(1) % CLASSES) for image in images]


@dataclass
class Row:
    """The shards of one module in a row. told: weights that each published; losses: of parts, at the last; rewound:
    whether they are those of a run that is resumed."""

    module: str
    split: list[int]
    settings: dict[str, Any]
    told: dict[int, list[tuple[int, Weights]]] = field(default_factory=dict)
    saved: dict[int, Saved] = field(default_factory=dict)
    incarnations: dict[int, int] = field(default_factory=dict)
    scopes: dict[int, trio.CancelScope] = field(default_factory=dict)
    rewound: bool = False

    @asynccontextmanager
    async def running(self):
        """Give batches with `feed`; all shards have ended behind the block."""
        current_threads.set(InTheLoop("row"))
        count = len(self.split)
        self.feed, self._batches = stream(Labelled)
        self._forth = [stream(Activations, credit=4) for _ in range(count - 1)]
        self._back = [stream(Gradients, credit=4) for _ in range(count - 1)]
        async with trio.open_nursery() as nursery:
            for place in range(count):
                nursery.start_soon(self._live, place)
            yield
            self.feed.end()

    async def _live(self, place: int) -> None:
        """A shard with its restarts; when it is over, its outputs end."""
        while True:
            ports = self._ports(place)
            with trio.CancelScope() as self.scopes[place]:
                await self._start(place, ports)
                break
            self.incarnations[place] = self.incarnations.get(place, 0) + 1
        for port in ports:
            if hasattr(port, "end"):
                port.end()

    def kill(self, place: int) -> None:
        """End a shard and start it again, from the state it has now."""
        self.scopes[place].cancel()

    def _ports(self, place: int) -> list[Any]:
        told = self.told.setdefault(place, [])
        weights = publish_to(Weights, lambda version, message: told.append((version, message)))
        if place == 0:
            return [self._batches, self._back[0][1], self._forth[0][0], weights]
        if place == len(self.split) - 1:
            return [self._forth[-1][1], self._back[-1][0], weights]
        return [
            self._forth[place - 1][1],
            self._back[place][1],
            self._forth[place][0],
            self._back[place - 1][0],
            weights,
        ]

    async def _start(self, place: int, ports: list[Any]) -> None:
        before = self.saved.get(place)
        kept = None if before is None else before.state()
        packed = pack(kept) if kept else None  # one killed before it kept anything begins afresh
        self.saved[place] = Saved(None if packed is None else unpack(packed.tensors, packed.rest), rewound=self.rewound)
        settings = {"module": self.module, "split": self.split, "device": "cpu", "publish_every": 1000, **self.settings}
        rate = Live(settings.pop("learning_rate", 1e-2))
        micro_batches = settings.pop("micro_batches", 1)
        count = len(self.split)
        function = first if place == 0 else last if place == count - 1 else inner
        more = {"micro_batches": micro_batches} if place == 0 else {"shard": place} if function is inner else {}
        context = Context(f"shard_{place}", incarnation=self.incarnations.get(place, 0))
        await function.function(
            *ports, context=context, saved=self.saved[place], learning_rate=rate, **settings, **more
        )

    def weights(self) -> dict[str, Any]:
        """The last weights of all shards together."""
        return {name: value for told in self.told.values() for name, value in told[-1][1].tensors.items()}


def trained(blocks: list[nn.Module], given: list[Labelled], optimiser: str, learning_rate: float) -> dict[str, Any]:
    """The oracle: the unsplit module's weights after a step on each batch."""
    module = nn.Sequential(*blocks)
    make = torch.optim.Adam if optimiser == "adam" else torch.optim.SGD
    chosen = make(module.parameters(), lr=learning_rate)
    for batch in given:
        loss = nn.functional.cross_entropy(module(torch.tensor(batch.image)), torch.tensor(batch.label))
        chosen.zero_grad()
        loss.backward()
        chosen.step()
    return {name: value.numpy() for name, value in module.state_dict().items()}
