"""What the cards of exports say of their use."""

from __future__ import annotations

HERE = "path/to/this/folder"
"""Where a card cannot know its own place."""

PARQUET_USE = """\
```python
{example}```

`model_space` is what to train on, bit for bit; real images that a network is tested on go through the transform of
`preprocessing.npz` first. `image` is the same as a picture, for people to look at: {clipping}
`datasets.load_dataset` reads the folder, too.
"""

PICTURES_USE = """\
```python
{example}```

These are pictures: {clipping} A network that is trained on them is tested on real images with pixels in 0..1, and
learns less than from the tensors, which are in the run that this was exported from.
"""

HUB_USE = """\
```python
{example}```

`model_space` is what to train on, bit for bit. `image` is the same as a picture, for people to look at: {clipping}

Real images that a network is tested on go through the transform ({preprocess}) first, which is in `run/`:

```python
import atom_distill as ad
{more}
tiny = ad.DistilledDataset.load({run})
images = tiny.preprocessing.apply(pixels)  # uint8 [N, C, H, W]
```
"""
