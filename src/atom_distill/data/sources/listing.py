"""What lies in a folder or a zip file: the files that may be images, without what is never data."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

from atom_distill.base.errors import DataError
from atom_distill.base.own_folders import own_files, written_here
from atom_distill.data.sources.archive_errors import ARCHIVE_ERRORS

Opened: TypeAlias = Path | IO[bytes]

_JUNK = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
"""Folders that systems and tools put beside data, in lower case."""
_NOT_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""What Pillow registers but reads only with the help of another program."""
_LARGEST = 1 << 30  # bytes of one file in a zip file, unpacked


@dataclass(frozen=True)
class Listing:
    """The files and folders of a set; paths are relative, with `/`, in sorted order.

    Attributes:
        root: the folder, or the zip file.
        files: (path, size in bytes, time in ns when its contents or its entry last changed).
        folders: all folders, also empty ones.
        left_out: what was not looked into, and why; for people.
        open: returns what Pillow opens for a path.
    """

    root: Path
    files: tuple[tuple[str, int, int], ...]
    folders: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    open: Callable[[str], Opened] = field(default=Path, compare=False)


def stamp(entry: os.DirEntry[str] | Path) -> tuple[int, int]:
    """Return the size of a file or folder in bytes, and the time in ns when its contents or its entry last changed."""
    try:
        stat = entry.stat()
    except OSError:
        stat = entry.stat(follow_symlinks=False)  # a dead link: opening it will fail, and name it
    return stat.st_size, max(stat.st_mtime_ns, stat.st_ctime_ns)


@cache
def image_suffixes() -> frozenset[str]:
    """Return the file name endings of the formats that Pillow reads here, e.g. ".png"."""
    from PIL import Image

    endings = Image.registered_extensions()  # this loads all of Pillow's readers
    return frozenset(ending for ending, form in endings.items() if form in Image.OPEN and form not in _NOT_PICTURES)


def is_image(path: str) -> bool:
    """Return whether a file is named as an image that Pillow reads."""
    return PurePosixPath(path).suffix.lower() in image_suffixes()


def scan(root: Path) -> Listing:
    """List the files and folders at any depth of a folder.

    Hidden folders, those with this package's own output and those that systems put beside data are left out, and so are
    links that lead back to a folder on the way down, or above it.

    Raises:
        DataError: a folder cannot be listed.
    """
    walk = _Walk(root)
    walk.enter("", (root.resolve(),))
    return Listing(
        root, tuple(sorted(walk.files)), tuple(sorted(walk.folders)), tuple(walk.left_out), lambda path: root / path
    )


@dataclass
class _Walk:
    root: Path
    files: list[tuple[str, int, int]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def enter(self, here: str, trail: tuple[Path, ...]) -> bool:
        """List a folder and all below it; return False if there is nothing in it but what is left out.

        Args:
            here: relative path, with a `/` at its end unless it is the root.
            trail: real paths of the folders on the way down, from the root to this one.
        """
        folders, files = self._entries(here)
        own = written_here(self.root / here) if here else None
        if own is not None:
            self.left_out.append(f"{here} holds {own}: not taken for data")
            return False
        written = own_files(self.root / here, [entry.name for entry in files])
        if written:
            self.left_out.append(f"{here}{min(written)}: written by this tool, not taken for data")
            files = [entry for entry in files if entry.name not in written]
        self.files += [(here + entry.name, *stamp(entry)) for entry in files]
        entered = [self._enter_below(here + entry.name, entry, trail) for entry in folders]
        return bool(files) or any(entered) or not (folders or written)

    def _enter_below(self, path: str, entry: os.DirEntry[str], trail: tuple[Path, ...]) -> bool:
        reason = self._reason_against(entry, trail)
        if reason is not None:
            self.left_out.append(f"{path}: {reason}")
            return False
        position = len(self.folders)
        self.folders.append(path)
        real = Path(entry).resolve() if entry.is_symlink() else trail[-1] / entry.name
        if self.enter(f"{path}/", (*trail, real)):
            return True
        del self.folders[position:]  # all of it is left out: not even an empty class
        return False

    def _reason_against(self, entry: os.DirEntry[str], trail: tuple[Path, ...]) -> str | None:
        if entry.name.startswith("."):
            return "hidden folders are left out"
        if entry.name.lower() in _JUNK:
            return "no folder of images"
        if entry.is_symlink():
            target = Path(entry).resolve()
            if any(folder == target or target in folder.parents for folder in trail):
                return f"a link that leads back to {target}"
        return None

    def _entries(self, here: str) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
        """Return the folders and the visible files of a folder, by name."""
        try:
            with os.scandir(self.root / here) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{self.root / here} cannot be listed ({error.strerror}); make it readable") from error
        folders = [entry for entry in entries if entry.is_dir()]
        files = [entry for entry in entries if not entry.is_dir() and not entry.name.startswith(".")]
        return folders, files


def scan_zip(archive: Path) -> Listing:
    """List a zip file as if it were unpacked; nothing is written, so no path can escape.

    Raises:
        DataError: it cannot be read.
    """
    try:
        opened = zipfile.ZipFile(archive)
        entries = {entry: _inside(entry.filename) for entry in opened.infolist()}
    except ARCHIVE_ERRORS as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); fetch or write it again") from error
    files: dict[str, zipfile.ZipInfo] = {}
    for entry, path in entries.items():
        if path and not entry.is_dir() and files.setdefault(path, entry) is not entry:
            raise DataError(f"{archive} holds {path} twice; write it again with one of them")
    folders = {path for entry, path in entries.items() if path and entry.is_dir()}
    folders |= {folder.as_posix() for path in (*files, *folders) for folder in PurePosixPath(path).parents} - {"."}

    def read(path: str) -> IO[bytes]:
        if files[path].file_size > _LARGEST:
            raise ValueError(f"it unpacks to {files[path].file_size / 2**30:.1f} GiB")
        return io.BytesIO(opened.read(files[path]))

    listed = tuple((path, entry.file_size, 0) for path, entry in sorted(files.items()))
    hidden = sum(path is None for path in entries.values())
    left_out = (f"{hidden} hidden entries are left out",) if hidden else ()
    return Listing(archive, listed, tuple(sorted(folders)), left_out, read)


def _inside(name: str) -> str | None:
    """Return the path of an entry of a zip file; None if it is hidden.

    Some programs write backslashes, or begin with `./` or `/`. A path that leads out of the archive counts as one
    inside: nothing is ever written there.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    hidden = any(part.startswith(".") or part.lower() in _JUNK for part in parts)
    return None if hidden else "/".join(parts)


def endings(paths: Iterator[str]) -> str:
    """Return how many files there are of each ending, for people: "12 .heic, 3 .txt"; "" if there are none."""
    counts: dict[str, int] = {}
    for path in paths:
        ending = PurePosixPath(path).suffix.lower() or "without an ending"
        counts[ending] = counts.get(ending, 0) + 1
    return ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items(), key=lambda pair: -pair[1]))
