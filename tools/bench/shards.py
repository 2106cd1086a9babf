"""Measure what two shards of a module on two cores learn, beside the unsplit module on one.

    python -m tools.bench.shards            a minute or two
    python -m tools.bench.shards --torch    beside torch's own pipeline too

Each worker has one torch thread. A module of eight equal blocks is split in two; a batch of 64 rows goes through in
eight micro-batches of 8. Unsplit: the same module in a loop of its own in a process with one thread, once with the
whole batch and once with the same eight micro-batches, which is the one two shards are held to. Wall time, from the
fourth step on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Annotated

import numpy as np
from torch import nn

from flow import Out, Range, node
from nodes.learn.classifier import Labelled
from tools.bench.running import edge, go
from tools.bench.running import node as named
from tools.bench.table import Figures, interleaved, print_table

BLOCKS, ROWS, PARTS, TARGET = 8, 64, 8, 1.6
WARM = 3


class Equal(nn.Sequential):
    """Blocks of equal cost: two layers each, on vectors as wide as its argument."""

    def __init__(self, width: int) -> None:
        super().__init__(
            *(nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(BLOCKS))
        )


@node
async def pictures(batches: Out[Labelled], *, width: Annotated[int, Range(1)], steps: Annotated[int, Range(1)]) -> None:
    """The same batch again and again."""
    for _ in range(steps):
        await batches.send(batch_of(width))


def batch_of(width: int) -> Labelled:
    rng = np.random.default_rng(0)
    return Labelled(rng.normal(size=(ROWS, width)).astype(np.float32), rng.integers(0, width, ROWS))


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.shards", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, A B A B (default 5)")
    parser.add_argument("--width", type=int, default=1024, help="of the blocks (default 1024: 16.8 M parameters)")
    parser.add_argument("--steps", type=int, default=30, help="steps of a round (default 30)")
    parser.add_argument("--torch", action="store_true", help="torch.distributed.pipelining with gloo beside it")
    parser.add_argument("--alone", choices=("whole", "parts", "torch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(PEERS[options.alone](options.width, options.steps)))
        return
    figures = Figures()
    peers = ["whole", "parts", *(["torch"] if options.torch else [])]
    cases = [lambda: figures.add("flow, two shards", "steps/s", two_shards(options.width, options.steps))]
    cases += [lambda peer=peer: figures.add(NAMES[peer], "steps/s", alone(peer, options)) for peer in peers]
    interleaved(options.rounds, cases)
    for peer in peers[::-1]:
        figures.relate("flow, two shards", "steps/s", NAMES[peer], target=TARGET if peer == "parts" else None)
    figures.relate("flow, two shards", "steps/s", NAMES["parts"], target=TARGET)
    for peer in ("whole", "torch"):
        figures.relate(NAMES[peer], "steps/s", NAMES["parts"])
    print_table(figures, ("flow-research", "torch", "numpy"))


NAMES = {
    "whole": "unsplit, one thread, whole batches",
    "parts": "unsplit, one thread, micro-batches",
    "torch": "torch.distributed.pipelining, 1F1B",
}


def two_shards(width: int, steps: int) -> float:
    """Steps a second of two workers with a shard each."""
    common = {
        "module": "tools.bench.shards:Equal", "arguments": [f"width={width}"], "split": [0, BLOCKS // 2],
        "optimiser": "sgd", "publish_every": 1 << 30, "device": "cpu",
    }  # fmt: skip
    nodes = [
        named("pictures", "tools.bench.shards:pictures", width=width, steps=steps),
        named("front", "nodes.learn.shard:first", micro_batches=PARTS, **common),
        named("back", "nodes.learn.shard:last", **common),
    ]
    edges = [
        edge("pictures.batches", "front.batches"),
        edge("front.activations", "back.activations"),
        edge("back.gradients", "front.gradients", feedback=True),
    ]
    ran = go(nodes, edges, {"front": ["pictures", "front"], "back": ["back"]})
    return _rate([(sample.at, sample.counters.get("updates", 0)) for sample in ran.samples])


def _rate(seen: list[tuple[float, float]]) -> float:
    """Steps a second between the first and the last look at which some, and not yet all, were done."""
    total = seen[-1][1]
    steady = [(at, done) for at, done in seen if WARM <= done < total]
    if len(steady) < 2:
        raise SystemExit("the steps were over before they could be counted twice; give more --steps or --width")
    (began, before), (ended, after) = steady[0], steady[-1]
    return (after - before) / (ended - began)


def alone(peer: str, options: argparse.Namespace) -> float:
    """Steps a second of a peer, in processes of its own with one thread each."""
    words = [sys.executable, "-m", "tools.bench.shards", "--alone", peer]
    words += ["--width", str(options.width), "--steps", str(options.steps)]
    quiet = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(words, env={**os.environ, **quiet}, capture_output=True, text=True, check=True, timeout=600)
    found: float = json.loads(done.stdout.splitlines()[-1])
    return found


def unsplit(width: int, steps: int, parts: int) -> float:
    """Steps a second of the module in one piece."""
    import torch

    torch.set_num_threads(1)
    module, batch = Equal(width), batch_of(width)
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-3)
    images, labels = torch.from_numpy(batch.image).chunk(parts), torch.from_numpy(batch.label).chunk(parts)
    for step in range(steps):
        if step == WARM:
            began = time.perf_counter()
        for image, label in zip(images, labels, strict=True):
            (nn.functional.cross_entropy(module(image), label) / parts).backward()
        optimiser.step()
        optimiser.zero_grad()
    return (steps - WARM) / (time.perf_counter() - began)


def torch_pipeline(width: int, steps: int) -> float:
    """Steps a second of torch's own pipeline: two processes, gloo, the same split and micro-batches."""
    import tempfile

    import torch.multiprocessing as processes

    with tempfile.TemporaryDirectory() as folder:
        processes.spawn(_stage, (folder, width, steps), nprocs=2)
        with open(f"{folder}/rate") as file:
            return float(file.read())


def _stage(rank: int, folder: str, width: int, steps: int) -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    half = BLOCKS // 2
    part = nn.Sequential(*list(Equal(width))[rank * half : (rank + 1) * half])
    stage = PipelineStage(part, rank, 2, torch.device("cpu"), input_args=(torch.zeros(ROWS // PARTS, width),))
    schedule = Schedule1F1B(stage, PARTS, loss_fn=nn.functional.cross_entropy)
    optimiser = torch.optim.SGD(part.parameters(), lr=1e-3)
    batch = batch_of(width)
    image, label = torch.from_numpy(batch.image), torch.from_numpy(batch.label)
    for step in range(steps):
        if step == WARM:
            dist.barrier()
            began = time.perf_counter()
        if rank == 0:
            schedule.step(image)
        else:
            schedule.step(target=label)
        optimiser.step()
        optimiser.zero_grad()
    dist.barrier()
    if rank == 0:
        with open(f"{folder}/rate", "w") as file:
            file.write(str((steps - WARM) / (time.perf_counter() - began)))
    dist.destroy_process_group()


PEERS = {
    "whole": lambda width, steps: unsplit(width, steps, 1),
    "parts": lambda width, steps: unsplit(width, steps, PARTS),
    "torch": torch_pipeline,
}

if __name__ == "__main__":
    main()
