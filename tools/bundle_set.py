"""Put a finished run into the package, as a set that comes along: values, transform, settings, scores and card.

    atom evaluate runs/best-3072 --arch convnet resnet18
    python tools/bundle_set.py runs/best-3072 cifar10-3072      # into src/atom_distill/sets/cifar10-3072

The name is the data set and the bytes per class. A set of that name is replaced. Absolute paths are cut to their last
part, and the loss of each step stays behind: the set is to be small, and the run can be made again by its command.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from accuracy_per_byte.commands import repeatable
from atom_distill.artifact.bundled import SETS_FOLDER
from atom_distill.artifact.card.layout import GRID_FILE, Layout, decoder_text, run_files
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import METRICS_FILE
from atom_distill.base.errors import ArtifactError, AtomError, ConfigError
from atom_distill.base.files import atomic_folder
from atom_distill.base.plain_text import one_line
from atom_distill.base.sizes import readable_size
from atom_distill.exporting.hub_folder import own_scores, write_run
from atom_distill.exporting.write_card import write_card

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-\d+")
COLORS = 128
"""Of the card's picture, which would be larger than the set in full color."""
USE = """\
```python
import atom_distill as ad
from torch.utils.data import DataLoader

tiny = ad.load_distilled("{name}")
loader = DataLoader(tiny.to_torch(), batch_size=64, shuffle=True)  # model space: train on these
```

Pass real images through `tiny.preprocessing.apply(uint8_images)` ({preprocess}) before you test a network on them.
`atom evaluate {name}`, `atom report {name}` and `atom export {name}` take the name in place of a run folder.
"""


def bundle(run: Path, name: str, sets: Path = SETS_FOLDER) -> Path:
    """Write a finished run that was evaluated as a set of the package; return its folder.

    Raises:
        ConfigError: the name is not made of a data set and a number.
        ArtifactError: there is no finished run, or it has no scores.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"a set is named by its data set and its bytes per class, e.g. cifar10-3072, not {name!r}")
    tiny = DistilledDataset.load(run)
    tiny.scores = own_scores(tiny)
    if not tiny.scores:
        raise ArtifactError(f"{run} has no scores: `atom evaluate {run}` first")
    if "command" in tiny.record:
        tiny.record = {**tiny.record, "command": repeatable(str(tiny.record["command"]), f"runs/{name}")}
    with atomic_folder(sets / name) as folder:
        write_run(tiny, folder)
        (folder / METRICS_FILE).unlink()
        use = USE.format(name=name, preprocess=tiny.preprocessing.kind)
        content = tiny.card_content()
        files = [(file, what) for file, what in run_files(content) if file != METRICS_FILE]
        write_card(tiny, folder, Layout({}, use + decoder_text(content, "distilled.safetensors"), files))
        with Image.open(folder / GRID_FILE) as picture:
            picture.quantize(COLORS).save(folder / GRID_FILE, optimize=True)
    return sets / name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 where something is for the user to correct."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run that was evaluated")
    parser.add_argument("name", metavar="NAME", help="data set and bytes per class, e.g. cifar10-3072")
    options = parser.parse_args(arguments)
    try:
        folder = bundle(options.run, options.name)
    except (AtomError, OSError) as error:
        print(f"bundle_set: {one_line(str(error))}", file=sys.stderr)
        return 2
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    print(f"{folder}: {readable_size(sum(sizes.values()))}")
    for file, size in sizes.items():
        print(f"  {file:<26} {size:>8,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
