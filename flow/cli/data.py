"""`flow data`: put a data set into a dataset, say what one holds, or a recording, and verify it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from flow.errors import MissingError, SettingError
from flow.graph.bound import readable

EXAMPLE = """examples:
  flow data import ucf101 ~/UCF-101 --into ucf101_dataset
  flow data import folders my_videos --into my_dataset --side 128 --flow none
  flow data info ucf101_dataset
  flow data verify ucf101_dataset
  flow data info runs/…/recordings/actor.trajectories-….flow
"""
LAYOUTS = ("ucf101", "hmdb51", "folders")
METHODS = ("dis", "dis_fast", "tvl1", "tvl1_torch", "farneback", "none")
WAYS = ("import", "info", "verify")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "data",
        help="import a data set, say what a dataset or a recording holds, verify it",
        description="import LAYOUT FOLDER decodes the video files of a data set, computes their optical flow and "
        "stores both; what is stored already is not made again. info says what a dataset or a recording holds, verify "
        "reads all of it and compares it with what was written.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("way", choices=WAYS, metavar="import|info|verify", help="what to do")
    parser.add_argument("words", nargs="+", metavar="WORD", help="LAYOUT FOLDER, or a DATASET or RECORDING")
    parser.add_argument("--into", metavar="DATASET", help="import: the dataset's directory, made when it is missing")
    parser.add_argument(
        "--side", type=int, default=256, metavar="N", help="import: smallest side in pixels [%(default)d]"
    )
    parser.add_argument("--flow", choices=METHODS, default="dis", help="import: method of optical flow [%(default)s]")
    parser.add_argument("--both-ways", action="store_true", help="import: flow backwards too")
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="import: decoders, and nodes of flow [%(default)d]"
    )
    parser.add_argument("--json", action="store_true", help="info, verify: JSON, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for."""
    try:
        if arguments.way == "import":
            return _import(arguments)
        (path,) = _words(arguments, "DATASET|RECORDING")
        from storage.recording import is_recording

        if is_recording(Path(path)):
            return _recording(Path(path), arguments.way == "verify", arguments.json)
        return _verify(path, arguments.json) if arguments.way == "verify" else _info(path, arguments.json)
    except ModuleNotFoundError as error:
        raise MissingError(
            f"flow data needs the package '{error.name}', which is not installed; pip install \"flow-research[video]\""
        ) from error


def _words(arguments: argparse.Namespace, *wanted: str) -> list[str]:
    if len(arguments.words) != len(wanted):
        raise SettingError(
            f"flow data {arguments.way}: expected {' '.join(wanted)}, found {' '.join(arguments.words)}; "
            f"write: flow data {arguments.way} {' '.join(wanted)}"
        )
    words: list[str] = arguments.words
    return words


def _import(arguments: argparse.Namespace) -> int:
    layout, folder = _words(arguments, "LAYOUT", "FOLDER")
    if layout not in LAYOUTS:
        raise SettingError(f"flow data import: {layout!r} is no layout; there are {', '.join(LAYOUTS)}")
    if not arguments.into:
        raise SettingError("flow data import: say where the dataset is to be, as in --into my_dataset")
    place = str(Path(arguments.into).resolve())
    result = _graph(layout, str(Path(folder).resolve()), place, arguments).run()
    told = {name: int(result.metrics.get(name, 0)) for name in ("videos_stored", "present", "skipped", "missing")}
    print(
        f"{arguments.into}: {told['videos_stored']} videos stored, {told['present']} were there, "
        f"{told['skipped']} could not be used, {told['missing']} are not on the disk"
    )
    return 0 if result.outcome == "done" else 1


def _graph(layout: str, folder: str, place: str, arguments: argparse.Namespace) -> Any:
    """The first half of graphs/two_stream.toml: files in, a dataset out."""
    from flow.graph.build import Graph

    graph, jobs = Graph("import"), arguments.jobs
    files = graph.add("files", "nodes.video.listing:listing", path=folder, layout=layout)
    absent = graph.add(
        "absent", "nodes.video.store:absent", path=place, side=arguments.side, flow=arguments.flow,
        both_ways=arguments.both_ways,
    )  # fmt: skip
    queue = graph.add("queue", "nodes.video.queue:queue")
    decoder = graph.add("decoder", "nodes.video.decode:decoder", replicas=jobs)
    flow = graph.add("flow", "nodes.video.flow:flow", replicas=jobs)
    pack = graph.add("pack", "nodes.video.flow:pack", replicas=jobs)
    store = graph.add("store", "nodes.video.store:store", path=place)
    listed = graph.add("stored", "nodes.sink.recording:write")
    graph.connect(files.files, absent.files)
    graph.connect(absent.missing, queue.files)
    graph.connect(absent.stored, listed.items)
    graph.connect(decoder.work, queue.work)
    graph.connect(decoder.frames, flow.frames, mode="share", credit=2)
    graph.connect(flow.flows, pack.flows, mode="share", credit=2)
    graph.connect(pack.pieces, store.pieces)
    graph.connect(store.stored, listed.items)
    graph.report(show=["videos_stored", "present", "pairs", "skipped", "missing"])
    return graph


def _info(path: str, as_json: bool) -> int:
    from storage.dataset import Dataset

    with Dataset(path) as dataset:
        records, unfinished = list(dataset.records()), dataset.unfinished()
    columns: dict[str, int] = {}
    for record in records:
        for name, count in record.counts.items():
            columns[name] = columns.get(name, 0) + count
    size = sum(record.stored_bytes for record in records)
    if as_json:
        said = {"records": len(records), "values": columns, "bytes": size, "unfinished": len(unfinished)}
        print(json.dumps(said, indent=1))
        return 0
    values = ", ".join(f"{count} {name}" for name, count in columns.items()) or "nothing"
    print(f"{path}: {len(records)} records, {values}; {readable(size)}; {len(unfinished)} not whole")
    return 0


def _verify(path: str, as_json: bool) -> int:
    from storage.dataset import Dataset

    with Dataset(path) as dataset:
        problems, count = list(dataset.problems()), sum(1 for _ in dataset.records())
    if as_json:
        print(json.dumps({"records": count, "problems": problems}, indent=1))
    else:
        print("\n".join([*problems, f"{path}: {count} records read, {len(problems)} values missing or damaged"]))
    return 1 if problems else 0


def _recording(path: Path, verify: bool, as_json: bool) -> int:
    """What a recording holds; with verify, 1 if some of it is damaged."""
    from flow.generic import derived
    from storage.recording import RecordingReader

    with RecordingReader(path) as reader:
        if not reader.head:
            raise MissingError(f"{path} holds nothing yet")
        kind = derived(reader.name, reader.fields)
        count, size = reader.count(), reader.stored_bytes()
        problems = list(reader.problems(kind)) if verify else []
        missed = reader.missed(kind) if not problems else None
        fields, origin = [f"{each.name}: {each}" for each in reader.fields], reader.origin
    if as_json:
        said = {"messages": count, "type": reader.name, "fields": fields, "missed": missed, "bytes": size}
        print(json.dumps({**said, "origin": origin, **({"problems": problems} if verify else {})}, indent=1))
        return 1 if problems else 0
    gaps = "" if missed is None else f", {missed or 'none'} missing between them"
    print(f"{path}: {count} messages {reader.name} ({', '.join(fields)}){gaps}; {readable(size)}")
    if origin:
        print(f"recorded at {origin['port']} of {origin['run']}, on the way to {', '.join(origin['into']) or 'nobody'}")
    if verify:
        print("\n".join([*problems, f"{count} messages read, {len(problems)} damaged"]))
    return 1 if problems else 0
