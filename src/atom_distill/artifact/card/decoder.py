"""Python that decodes the tensor file of a run with numpy, PyTorch and safetensors only, for cards and exports."""

from __future__ import annotations

import json

from atom_distill.artifact.card.content import CardContent

_OPEN = """\
import json{more}
import numpy as np, torch
from safetensors import safe_open

file = safe_open({place}, "np")
facts = json.loads(file.metadata()["atom-distill"])
channels, height, width = facts["image_shape"]
"""
_PACKED = """\
packed, numbers = file.get_tensor("packed.{name}").tobytes(), 0
rest = packed[1:]
for plane in range(packed[0]):  # a plane holds one byte of all numbers, those of a column together
    stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{{"id": lzma.FILTER_LZMA2}}])
    numbers = numbers | np.frombuffer(stream.decompress(rest), np.uint8).astype(np.uint32) << 8 * plane
    rest = stream.unused_data
signed = (numbers >> 1).astype(np.int32) ^ -(numbers & 1).astype(np.int32)  # 0, -1, 1, -2, ...
shape = facts["packed"]["{name}"]
values = torch.from_numpy(signed.reshape(shape[-1], -1).T.copy()).float().reshape(shape)
values = values * torch.from_numpy(file.get_tensor("step.{name}")).float()
counts = torch.tensor(facts["rows_per_class"])
labels = torch.arange(len(counts)).repeat_interleave(counts)
"""
_PLAIN = """\
values = torch.from_numpy(file.get_tensor("{name}"))
labels = torch.from_numpy(file.get_tensor("labels"))
"""
_PIXELS = """\
images = values
"""
_TILES = """\
factor = int(facts["parameterization"].split("-")[1])
grids = values.unflatten(3, (factor, -1)).unflatten(2, (factor, -1))  # rows, channels, and two of each side
tiles = grids.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
images = torch.nn.functional.interpolate(tiles, (height, width), mode="bilinear")
labels = labels.repeat_interleave(factor**2)
"""
_FREQUENCY = """\

def cosines(side, count):  # rows of the orthonormal DCT
    rows = torch.cos(math.pi / side * torch.outer(torch.arange(count).double(), torch.arange(side) + 0.5))
    return (rows * torch.tensor([1.0] + [2**0.5] * (count - 1))[:, None] / side**0.5).float()

corners = [int(corner) for corner in facts["parameterization"].split("-")[1:3]]
labels, values, planes = labels.repeat_interleave(values.shape[1]), values.flatten(0, 1), []
for block in values.split([corner**2 for corner in [corners[0]] + [corners[-1]] * (channels - 1)], dim=1):
    corner = math.isqrt(block.shape[1])
    order = (torch.arange(corner)[:, None] + torch.arange(corner)).flatten().argsort(stable=True)  # low to high
    block = block[:, order.argsort()].reshape(-1, corner, corner)
    planes.append(cosines(height, corner).T @ block @ cosines(width, corner))
images = torch.stack(planes, 1)
if channels == 3:  # luma and chroma to red, green and blue
    colors = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
    images = torch.einsum("oc,nohw->nchw", colors / colors.norm(dim=1, keepdim=True), images)
"""
_SOFT = """\
labels = torch.from_numpy(file.get_tensor("soft_labels")).float()  # probabilities, [N, K]
"""
_FORMS = {"pixels": ("images", _PIXELS), "tiles": ("images", _TILES), "frequency": ("coefficients", _FREQUENCY)}
"""Name of the stored tensor, and how it becomes images, by the first word of a parameterization."""


def decoder(content: CardContent, place: str) -> str | None:
    """Return Python that defines `images` (model space, [N, C, H, W]) and `labels` of a set.

    Args:
        content: of the set.
        place: of its tensor file.

    Returns:
        None for a parameterization of the user's own.
    """
    form = str(content.settings.get("parameterization") or "pixels").partition("-")[0]
    if form not in _FORMS:
        return None
    name, images = _FORMS[form]
    more = (", lzma" if content.rounded else "") + (", math" if form == "frequency" else "")
    opened = _OPEN.format(more=more, place=json.dumps(place))
    read = (_PACKED if content.rounded else _PLAIN).format(name=name)
    return opened + read + images + (_SOFT if content.has_soft_labels else "")


def is_compact(content: CardContent) -> bool:
    """Return whether the tensor file of a set holds something else than its images."""
    return content.rounded or content.settings.get("parameterization") not in (None, "pixels")
