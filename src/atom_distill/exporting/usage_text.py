"""What the cards of exported folders say about their use."""

from __future__ import annotations

HERE = "path/to/this/folder"
"""Stands for the folder's path, which its card cannot know."""

PARQUET_USE = """\
```python
{example}```

Train on `model_space`, which is exact; apply the transform of `preprocessing.npz` to the real images that a network is
tested on. `image` is the same as a picture, for viewing: {clipping}
`datasets.load_dataset` reads the folder, too.
"""

PICTURES_USE = """\
```python
{example}```

These are pictures: {clipping} Test a network that is trained on them on real images with pixels in 0..1. It learns less
than from the tensors, which are in the run that was exported.
"""

COMPACT_USE = """\
```python
{example}```

The tensor file holds the set as it was distilled: {size}.

Apply the transform of `preprocessing.safetensors` ({preprocess}) to the real images that a network is tested on, with
intensities in 0..1: `(intensities - mean) / std` of each channel; or, of zca, `(intensities - mean) @ transform` with
an image a row, a symmetric matrix of which `transform_upper` is the upper triangle, row by row.

`atom evaluate` takes the folder as a run, and `atom_distill.DistilledDataset.load` reads it.
"""

HUB_USE = """\
```python
{example}```

Train on `model_space`, which is exact. `image` is the same as a picture, for viewing: {clipping}

Apply the transform ({preprocess}) in `run/` to the real images that a network is tested on:

```python
import atom_distill as ad
{more}
tiny = ad.DistilledDataset.load({run})
images = tiny.preprocessing.apply(pixels)  # uint8 [N, C, H, W]
```
"""
