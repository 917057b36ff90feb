"""The text of a card."""

from __future__ import annotations

TEMPLATE = """\
# {title}

{images} {kind} images ({per_class}, {classes} classes, {shape}) that replace the
{train_size} training images of {source}, {made} with atom-distill {version}.

![the distilled images]({grid})

The picture is contrast-fitted: values outside the range of a pixel are compressed into it.

## Scores

{scores}

## Use

{use}

{files}

## How it was made

{how}

## Intended use

Training image classifiers on very few images, where the full data set is too slow to train on many times, or too large
to store or send: architecture search, continual learning, quick experiments. Comparing methods of dataset distillation.

## Limits

- **Networks learn less from it than from the full data set.** Test a network trained on these images on real ones.
- **Made for {matched}**, and for the transform between pixels and model space that comes with it.
  Other architectures learn less from it, and other preprocessing makes it useless.
- **No anonymization.** The images are computed from real ones, often start as copies of them, and can look like them.
  There is no guarantee of privacy: do not publish in this form what must not be published of the real data set.
- **It has the biases of the real data set**, and a few images per class cannot show what is rare in the class. Draw no
  conclusions about people or the world from it.
- **The pictures are for viewing.** A PNG rounds and clips the values that networks are to be trained on.

## License

{license}
"""

DECODER = """
Without atom-distill, these lines make the same `images` (model space, [N, C, H, W]) and `labels`:

```python
{code}```
"""

RUN_USE = """\
```python
import atom_distill as ad
from torch.utils.data import DataLoader

tiny = ad.DistilledDataset.load("path/to/this/folder")
loader = DataLoader(tiny.to_torch(), batch_size=64, shuffle=True)  # model space: train on these
```

Train on the tensors of `distilled.safetensors`, not on the pictures: they are in the model space of
`preprocessing.safetensors` ({preprocess}), a transform that must also be applied to the real images that a network is
tested on (`tiny.preprocessing.apply(uint8_images)`). The PNGs are rounded and clipped, for viewing only.
"""
