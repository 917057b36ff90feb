"""Make what `make demo` needs of the real CIFAR-10, which is in the cache or fetched.

    atom distill cifar10 --bytes 2607 --pictures 61 --method random --out runs/random-3072
    python tools/demo_images.py runs/random-3072        # into examples/cifar10/

Two contact sheets have the exact pixels of images that are drawn with a seed, class after class: 100 test images of
each class, and one training image. The folder `random-3072` is the run, without what only the run needs: random
training images in the form of the set `cifar10-3072`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import atom_distill as ad
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import METRICS_FILE
from atom_distill.artifact.pictures import save_picture
from atom_distill.base.files import atomic_folder
from atom_distill.base.image_grid import image_grid
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.subset import random_subset
from atom_distill.exporting.hub_folder import write_run

FOLDER = Path(__file__).parents[1] / "examples" / "cifar10"
TEST_IMAGES = 100
"""Of each class."""
COLUMNS = 50
SEED = 0


def write_sheets(dataset: ImageDataset, folder: Path) -> None:
    """Write `test-1000.png` and `train-10.png`, for ten classes, into a folder."""
    test = random_subset(replace(dataset, train=dataset.test), TEST_IMAGES, SEED)
    write_sheet(dataset.test.subset(test), folder / f"test-{len(test)}.png")
    train = random_subset(dataset, 1, SEED)
    write_sheet(dataset.train.subset(train), folder / f"train-{len(train)}.png")


def write_sheet(split: Split, path: Path) -> None:
    """Write images side by side, without space between them, as a PNG."""
    save_picture(path, image_grid(split.images.split(COLUMNS)))


def write_baseline(run: Path, folder: Path) -> None:
    """Write what is stored by a finished run, its transform and its settings as a folder that loads."""
    with atomic_folder(folder) as temporary:
        write_run(DistilledDataset.load(run), temporary)
        (temporary / METRICS_FILE).unlink()


def main() -> None:
    """Write everything, and print how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run that chose random images")
    run: Path = parser.parse_args().run
    write_sheets(ad.load_dataset("cifar10"), FOLDER)
    write_baseline(run, FOLDER / "random-3072")
    for path in sorted(FOLDER.rglob("*.*")):
        print(f"{path.relative_to(FOLDER)!s:<36} {path.stat().st_size:>9,} bytes")


if __name__ == "__main__":
    main()
