"""What a worker says that it takes: memory of its own and shared memory, not what it reads of files through a map."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import pytest

from flow.footprint import Footprint
from flow.stats import Page, PageReader

MIB = 1 << 20
SIZE = 64 * MIB


def taken(path: Path) -> int:
    """By the page that is at this path."""
    page = Page.open(path, node="a", replica=0, worker="w", incarnation=0)
    Footprint([page]).tell()
    page.beat()
    view = PageReader(path).poll()
    assert view is not None
    return int(view.gauges["_memory_bytes"])


def of_files() -> int:
    """Bytes of files that are resident in this process."""
    found = re.search(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def test_memory_of_its_own_is_counted(tmp_path):
    before = taken(tmp_path / "a-0.page")
    # A map of its own: what an array takes may be memory that was freed before and is resident already.
    with mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"1" * SIZE)
        grown = taken(tmp_path / "b-0.page") - before
    assert 0.9 * SIZE < grown < 1.5 * SIZE


def test_so_is_memory_that_processes_share(tmp_path):
    before = taken(tmp_path / "a-0.page")
    with mmap.mmap(-1, SIZE) as shared:
        shared.write(b"1" * SIZE)
        grown = taken(tmp_path / "b-0.page") - before
    assert 0.9 * SIZE < grown < 1.5 * SIZE


def test_a_file_that_is_read_through_a_map_is_not(tmp_path):
    (tmp_path / "store").write_bytes(b"1" * SIZE)
    before, files = taken(tmp_path / "a-0.page"), of_files()
    with (tmp_path / "store").open("rb") as file, mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[at] for at in range(0, SIZE, mmap.PAGESIZE)) == ord("1") * SIZE // mmap.PAGESIZE
        if of_files() - files < SIZE // 2:
            pytest.skip(f"{tmp_path} lies in memory; give --basetemp on a disk")
        assert taken(tmp_path / "b-0.page") - before < SIZE // 4
