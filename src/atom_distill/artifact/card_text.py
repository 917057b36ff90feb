"""The words of a card."""

from __future__ import annotations

TEMPLATE = """\
# {title}

{images} synthetic images ({per_class}, {classes} classes, {shape}) that stand in for the
{train_size} training images of {source}, {made} with atom-distill {version}.

![the distilled images]({grid})

The picture is contrast-fitted: what lies outside the range of a pixel is compressed into it.

## Scores

{scores}

## Use

{use}

{files}

## How it was made

{how}

## Intended use

To train image classifiers on very few images, where the whole set is too slow to train on again and again, or too large
to store or to send: architecture search, continual learning, quick experiments. And to compare methods of data-set
distillation.

## Limits

- **Less is learned than from the whole set.** Judge a network that was trained on these images on real ones.
- **Made for {matched}**, and for the transform between pixels and model space that comes with it.
  Other architectures learn less from it, and other preprocessing spoils it.
- **No anonymization.** The images are computed from real ones, often start as copies of them, and can look like them.
  There is no guarantee of privacy: what must not be published of the real set must not be published in this form.
- **The biases of the real set are in it**, and a few images a class cannot show what is rare in the class. Draw no
  conclusions about people or the world from it.
- **The pictures are for looking at.** A PNG rounds and clips what networks are meant to be trained on.

## License

{license}
"""

RUN_USE = """\
```python
import atom_distill as ad
from torch.utils.data import DataLoader

tiny = ad.DistilledDataset.load("path/to/this/folder")
loader = DataLoader(tiny.to_torch(), batch_size=64, shuffle=True)  # model space: train on these
```

Train on the tensors of `distilled.safetensors`, not on the pictures: they live in the space of
`preprocessing.safetensors` ({preprocess}), which must also be applied to the real images that a network is tested on
(`tiny.preprocessing.apply(uint8_images)`). The PNGs are rounded and clipped, for people to look at.
"""
