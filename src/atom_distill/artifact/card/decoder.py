"""A decoder of rounded low frequencies that needs numpy, PyTorch and safetensors only, for cards."""

DECODER = """
Without atom-distill, these lines make the same `images` (model space, [N, C, H, W]) and `labels`:

```python
import json, lzma, math
import numpy as np, torch
from safetensors import safe_open

file = safe_open("distilled.safetensors", "np")
facts = json.loads(file.metadata()["atom-distill"])
(rows, per_row, count), (channels, height, width) = facts["packed"]["coefficients"], facts["image_shape"]
packed, numbers = file.get_tensor("packed.coefficients").tobytes(), 0
rest = packed[1:]
for plane in range(packed[0]):  # a plane holds one byte of all numbers, those of a coefficient together
    stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
    numbers = numbers | np.frombuffer(stream.decompress(rest), np.uint8).astype(np.uint32) << 8 * plane
    rest = stream.unused_data
signed = (numbers >> 1).astype(np.int32) ^ -(numbers & 1).astype(np.int32)  # 0, -1, 1, -2, ...
steps = torch.from_numpy(file.get_tensor("step.coefficients")).float()
values = torch.from_numpy(signed.reshape(count, -1).T.copy()).float() * steps

def cosines(side, count):  # rows of the orthonormal DCT
    rows = torch.cos(math.pi / side * torch.outer(torch.arange(count).double(), torch.arange(side) + 0.5))
    return (rows * torch.tensor([1.0] + [2**0.5] * (count - 1))[:, None] / side**0.5).float()

corners = [int(corner) for corner in facts["parameterization"].split("-")[1:3]]
planes = []
for block in values.split([corner**2 for corner in [corners[0]] + [corners[-1]] * (channels - 1)], dim=1):
    corner = math.isqrt(block.shape[1])
    order = (torch.arange(corner)[:, None] + torch.arange(corner)).flatten().argsort(stable=True)  # low to high
    block = block[:, order.argsort()].reshape(-1, corner, corner)
    planes.append(cosines(height, corner).T @ block @ cosines(width, corner))
images = torch.stack(planes, 1)
if channels == 3:  # luma and chroma to red, green and blue
    colors = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
    images = torch.einsum("oc,nohw->nchw", colors / colors.norm(dim=1, keepdim=True), images)
counts = torch.tensor(facts["rows_per_class"])
labels = torch.arange(len(counts)).repeat_interleave(counts * per_row)
```
"""
