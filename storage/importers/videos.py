"""Sets of video files as people have them on disk: which files, of which class, to learn from or held out.

    UCF-101     UCF-101/<Class>/v_<Class>_g01_c01.avi, ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt
    HMDB-51     hmdb51/<class>/<name>.avi, testTrainMulti_7030_splits/<class>_test_split1.txt
    folders     <class>/<file>, or train/<class>/<file> and test/<class>/<file>

What a list names and the disk does not have is told, not hidden. Names are taken as they are: HMDB's hold spaces,
semicolons and brackets.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flow.errors import MissingError, StorageError

SUFFIXES = (".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".ts", ".3gp")


@dataclass(frozen=True)
class Entry:
    """A file of a data set. name: class folder and file. part: "train" or "test"."""

    path: Path
    name: str
    label: int
    part: str


@dataclass
class Listing:
    """A data set. classes: by label. missing: what its lists name and the disk does not have."""

    classes: list[str]
    entries: list[Entry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def require_entries(self, root: Path) -> Listing:
        """Itself.

        Raises:
          MissingError: it has no video.
        """
        if not self.entries:
            named = f"; its lists name {len(self.missing)} files, such as {self.missing[0]!r}" if self.missing else ""
            raise MissingError(
                f"{root}: there is no video of the data set in it{named}. Give the folder that holds the class "
                "folders, or the one above it"
            )
        return self


def ucf101(root: Path, split: int = 1) -> Listing:
    """UCF-101 by one of its official splits, 1 to 3.

    Raises:
      MissingError: the videos or the lists are not there.
      StorageError: a list cannot be understood.
    """
    videos, lists = _folder(root, "UCF-101"), _folder(root, "ucfTrainTestlist")
    classes: list[str] = []
    for number, line in _lines(lists / "classInd.txt"):
        words = line.split()
        if len(words) != 2 or not words[0].isdigit() or int(words[0]) != len(classes) + 1:
            raise StorageError(
                f"{lists / 'classInd.txt'}, line {number}: expected '{len(classes) + 1} NAME', found {line!r}"
            )
        classes.append(words[1])
    found = Listing(classes)
    # The folder is HandstandPushups, its files and one list say HandStandPushups.
    labels = {name.lower(): label for label, name in enumerate(classes)}
    for part in ("train", "test"):
        path = lists / f"{part}list{split:02}.txt"
        for number, line in _lines(path):
            name = line.split()[0]
            folder = name.partition("/")[0]
            if folder.lower() not in labels:
                raise StorageError(f"{path}, line {number}: {folder!r} is no class of classInd.txt")
            _add(found, videos / name, name, labels[folder.lower()], part)
    return found.require_entries(root)


def hmdb51(root: Path, split: int = 1) -> Listing:
    """HMDB-51 by one of its official splits, 1 to 3. What a split does not use is left out.

    Raises:
      MissingError: the videos or the lists are not there.
      StorageError: a list cannot be understood.
    """
    videos, lists = _folder(root, "hmdb51"), _folder(root, "testTrainMulti_7030_splits")
    ending = f"_test_split{split}.txt"
    paths = sorted(lists.glob(f"*{ending}"))
    if not paths:
        raise MissingError(f"{lists}: there is no list such as brush_hair{ending}; unpack test_train_splits.rar there")
    found = Listing([path.name.removesuffix(ending) for path in paths])
    for label, path in enumerate(paths):
        for number, line in _lines(path):
            name, _, use = line.rpartition(" ")
            if use not in ("0", "1", "2"):
                raise StorageError(f"{path}, line {number}: expected 'NAME.avi 0', 1 or 2, found {line!r}")
            if use != "0":
                name = f"{found.classes[label]}/{name}"
                _add(found, videos / name, name, label, "train" if use == "1" else "test")
    return found.require_entries(root)


def folders(root: Path, test_share: float = 0.2) -> Listing:
    """A folder a class. Without folders train and test, names decide: the same files are held out each time.

    Of a class with one video that one is learned from.

    Raises:
      MissingError: there is no video.
    """
    if not root.is_dir():
        raise MissingError(f"{root}: there is no such folder")
    parts = {part: _class_folders(root / part) for part in ("train", "test") if (root / part).is_dir()}
    split = set(parts) == {"train", "test"}
    parts = parts if split else {"": _class_folders(root)}
    found = Listing(sorted({folder.name for each in parts.values() for folder in each}))
    for part, each in parts.items():
        for folder in each:
            names = [path.name for path in _videos(folder)]
            held = set() if split else _held_out(names, test_share)
            for name in names:
                chosen = part or ("test" if name in held else "train")
                entry = Entry(folder / name, f"{folder.name}/{name}", found.classes.index(folder.name), chosen)
                found.entries.append(entry)
    return found.require_entries(root)


def _held_out(names: Sequence[str], share: float) -> set[str]:
    ordered = sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))
    return set(ordered[: min(round(share * len(names)), len(names) - 1)])


def _class_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and _videos(path))


def _videos(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _add(found: Listing, path: Path, name: str, label: int, part: str) -> None:
    if path.exists():
        found.entries.append(Entry(path, name, label, part))
    else:
        found.missing.append(name)


def _folder(root: Path, name: str) -> Path:
    """The folder of that name in the root, or the root itself, if what is wanted was unpacked there."""
    if not root.is_dir():
        raise MissingError(f"{root}: there is no such folder")
    return root / name if (root / name).is_dir() else root


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError as error:
        raise MissingError(
            f"{path}: the data set's list is not there; unpack its archive of lists beside the videos"
        ) from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
