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

def unpack(data, rows, columns):  # rANS (arXiv 1311.2540) with probabilities that adapt to what was decoded
    symbols, lanes, size, count = struct.unpack_from("<BHII", data)
    levels = lzma.decompress(data[11 : 11 + size], lzma.FORMAT_RAW, filters=[{{"id": lzma.FILTER_LZMA2}}])
    order = sorted(np.flatnonzero(list(levels)), key=lambda column: -levels[column])
    state = np.frombuffer(data, "<u4", lanes, 11 + size).astype(np.int64)
    words = np.frombuffer(data, "<u2", count, 11 + size + 4 * lanes).astype(np.int64)
    bits = np.unpackbits(np.frombuffer(data[11 + size + 4 * lanes + 2 * count :], np.uint8))
    mean = np.sqrt(np.ldexp(1.0, np.arange(16)[:, None] + np.arange(16) - 17))[:, :, None]
    seen = np.concatenate([1 / (1 + mean)] + [mean / (1 + mean)] * (symbols - 1), axis=2)
    seen = np.floor(64 * seen.cumprod(axis=2)).astype(np.int64) + 1  # how often, by level of the column and the row
    found, expected, used = np.zeros((len(order), rows), np.int64), np.full(rows, 256, np.int64), 0
    for column, row in zip(order, found):
        counts, level = seen[levels[column]], np.searchsorted(1 << np.arange(15), expected, "right")
        shares = counts * (2**14 - symbols) // counts.sum(1, keepdims=True) + 1
        shares[:, 0] += 2**14 - shares.sum(1)
        starts = shares.cumsum(1) - shares
        for first in range(0, rows, lanes):
            here, now = level[first : first + lanes], state[: rows - first]
            symbol = (now[:, None] % 2**14 >= starts[here, 1:]).sum(1)
            now[:] = shares[here, symbol] * (now >> 14) + now % 2**14 - starts[here, symbol]
            low = np.flatnonzero(now < 2**16)
            now[low] = (now[low] << 16) + words[used : used + len(low)]
            row[first : first + lanes], used = symbol, used + len(low)
        np.add.at(counts, (level, row), 24)
        expected += ((row << 8) - expected) >> 4
    symbol = found[found > 0]  # a sign follows; from 8 on also the lower bits of a number
    widths = np.where(symbol < 8, 1, symbol - 4)
    lower, place = 0 * symbol, widths.cumsum() - widths
    for bit in range(32):
        lower[widths > bit] = 2 * lower[widths > bit] + bits[(place + bit)[widths > bit]]
    sizes = np.where(symbol < 8, symbol, (1 << np.maximum(symbol - 5, 0)) + lower // 2)
    found[found > 0] = np.where(lower % 2, -sizes, sizes)
    table = np.zeros((columns, rows), np.int64)
    table[order] = found
    return table.T

shape = facts["packed"]["{name}"]
values = unpack(file.get_tensor("packed.{name}").tobytes(), math.prod(shape[:-1]), shape[-1]).reshape(shape)
values = torch.from_numpy(values).float() * torch.from_numpy(file.get_tensor("step.{name}")).float()
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
    more = ", lzma, math, struct" if content.rounded else ", math" if form == "frequency" else ""
    opened = _OPEN.format(more=more, place=json.dumps(place))
    read = (_PACKED if content.rounded else _PLAIN).format(name=name)
    return opened + read + images + (_SOFT if content.has_soft_labels else "")


def is_compact(content: CardContent) -> bool:
    """Return whether the tensor file of a set holds something else than its images."""
    return content.rounded or content.settings.get("parameterization") not in (None, "pixels")
