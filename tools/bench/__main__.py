"""All benches, one after the other, and what missed its target.

    python -m tools.bench                    every bench with its defaults; give it quiet cores
    python -m tools.bench edges serve        these
    python -m tools.bench --rounds 2         fewer rounds of each

Each prints its own table with its peers and limits of the same run; what is printed is kept under bench/ in one file a
bench. A bench whose peer is not installed says so, and measures the rest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bench:
    """One bench. words: its options beyond the defaults. has_rounds: whether it takes --rounds."""

    name: str
    words: tuple[str, ...] = ()
    has_rounds: bool = True

    @property
    def module(self) -> str:
        return f"tools.bench.{self.name}"


BENCHES = (
    Bench("startup"),
    Bench("lifecycle"),
    Bench("edges"),
    Bench("serve"),
    Bench("weights"),
    Bench("stepping", ("--threads", "2")),
    Bench("loop"),
    Bench("replay"),
    Bench("search", ("--cpu",)),
    Bench("muzero_atari"),
    Bench("shards"),
    Bench("video"),
    Bench("inspector"),
    Bench("web_inspector", ("--screens", "0")),
    Bench("bottleneck", has_rounds=False),
)


def main() -> None:
    """Parse the command line, run the benches, and say what was missed; ends with 1 if a bench failed."""
    names = [bench.name for bench in BENCHES]
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(names)} (default all)")
    parser.add_argument("--rounds", type=int, help="rounds of each bench (default its own)")
    parser.add_argument("--output", type=Path, default=Path("bench"), help="where what they print is kept (bench)")
    options = parser.parse_args()
    if unknown := [name for name in options.benches if name not in names]:
        parser.error(f"there is no bench {unknown[0]!r}; there are {', '.join(names)}")
    options.output.mkdir(parents=True, exist_ok=True)
    missed: list[str] = []
    failed: list[str] = []
    for bench in BENCHES:
        if options.benches and bench.name not in options.benches:
            continue
        words = [*bench.words, *(["--rounds", str(options.rounds)] if options.rounds and bench.has_rounds else [])]
        if not _run(bench, words, options.output, missed):
            failed.append(bench.name)
    print("\nmissed:" if missed else "\nno target was missed")
    for line in missed:
        print(f"  {line}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; what they printed is in {options.output}")


def _run(bench: Bench, words: list[str], output: Path, missed: list[str]) -> bool:
    """Run one, showing what it prints; whether it ended well."""
    print(f"\n== python -m {' '.join([bench.module, *words])}   load {os.getloadavg()[0]:.1f}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", bench.module, *words]
    with (
        (output / f"{bench.name}.txt").open("w") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            file.write(line)
            if "MISSED" in line:
                missed.append(f"{bench.name}: {line.strip()}")
    print(f"({time.monotonic() - began:.0f} s)", flush=True)
    return process.returncode == 0


if __name__ == "__main__":
    main()
