"""`flow data info` tells what is there, and leaves it as it was."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest

from flow.cli.main import main


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ([], " holds nothing yet"),
        ([b"steps", b"values"], " is no dataset; make one elsewhere with: flow data import"),
        (
            [b"values", b"records", b"parts", b"about"],
            ": expected {'format': 'flow dataset', 'version': 1}, found None",
        ),
    ],
)
@pytest.mark.parametrize("way", ["info", "verify"])
def test_what_is_neither_a_dataset_nor_a_recording_is_told_and_not_written_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tables: list[bytes], problem: str, way: str
):
    with lmdb.open(str(tmp_path), max_dbs=4) as environment:
        for name in tables:
            environment.open_db(name)
    before = (tmp_path / "data.mdb").read_bytes()
    assert main(["data", way, str(tmp_path)]) == 1
    assert f"{tmp_path}{problem}" in capsys.readouterr().err
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_one_whose_writer_has_only_begun_holds_nothing_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "data.mdb").touch()
    assert main(["data", "info", str(tmp_path)]) == 1
    assert "holds nothing yet" in capsys.readouterr().err
    assert not (tmp_path / "data.mdb").stat().st_size
