"""ResNet-18 for small images, as evaluated in the dataset-distillation papers."""

from __future__ import annotations

from torch import Tensor, nn

from atom_distill.base.network_shape import Activation, NetworkShape, Norm
from atom_distill.models.convolution import Conv2d
from atom_distill.models.layers import Activations, normalization, require_size
from atom_distill.models.network import Network
from atom_distill.models.registry import MODELS
from atom_distill.ops.features import Features

_SMALLEST = 9
"""Smallest height and width that leave the last stage more than one pixel; instance norm of one pixel is always 0."""

_Size = tuple[int, int, int]


class _Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, before: _Size, after: _Size, norm: Norm, activation: Activation) -> None:
        super().__init__()
        stride, bias = (1 if before[1:] == after[1:] else 2), norm == "none"
        self.conv1 = Conv2d(before[0], after[0], 3, stride=stride, padding=1, bias=bias)
        self.norm1 = normalization(norm, after)
        self.conv2 = Conv2d(after[0], after[0], 3, padding=1, bias=bias)
        self.norm2 = normalization(norm, after)
        self.shortcut = nn.Sequential()
        if before != after:
            projection = Conv2d(before[0], after[0], 1, stride=stride, bias=bias)
            self.shortcut = nn.Sequential(projection, normalization(norm, after))
        self.activation = Activations[activation]()

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(self.activation(self.norm1(self.conv1(maps)))))
        out: Tensor = self.activation(inner + self.shortcut(maps))
        return out


class ResNet18(Network):
    """A 3x3 convolution, four stages of two residual blocks, mean over pixels, linear classifier.

    The first stage has `width` filters at the resolution of the images; each further stage doubles the filters and
    halves the resolution. One map per stage; the embedding has 8 * width values.

    Args:
        image_shape: (C, H, W); at least 9x9, so that the last stage has more than one pixel.
        num_classes: K.
        shape: width (64), norm ("instance", as in the DC code's `ResNet18`; "batch" is its `ResNet18BN`), activation
            ("relu").

    Raises:
        ConfigError: the images are too small, or another setting is given.

    Source: `ResNet18` of the DC code (Zhao, Mopuri & Bilen, ICLR 2021), after He et al., CVPR 2016.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> None:
        super().__init__()
        shape.allow("resnet18", "width", "norm", "activation")
        require_size("resnet18", image_shape, _SMALLEST)
        channels, height, width = image_shape
        filters, norm, activation = shape.width or 64, shape.norm or "instance", shape.activation or "relu"
        self.shape = NetworkShape(width=filters, norm=norm, activation=activation)
        before = (filters, height, width)
        self.stem = nn.Sequential(
            Conv2d(channels, filters, 3, padding=1, bias=norm == "none"),
            normalization(norm, before),
            Activations[activation](),
        )
        stages = []
        for stage in range(4):
            after = before if stage == 0 else (2 * before[0], -(-before[1] // 2), -(-before[2] // 2))
            stages.append(
                nn.Sequential(_Residual(before, after, norm, activation), _Residual(after, after, norm, activation))
            )
            before = after
        self.stages = nn.ModuleList(stages)
        self.classifier = nn.Linear(before[0], num_classes)

    def features(self, images: Tensor) -> Features:
        """See `Network.features`; one map per stage, [B, width * 2^l, H / 2^l, W / 2^l]."""
        out = self.stem(images)
        maps = []
        for stage in self.stages:
            out = stage(out)
            maps.append(out)
        embedding = out.mean((2, 3))
        return Features.of_maps(maps, embedding, lambda: self.classifier(embedding))


MODELS.register("resnet18")(ResNet18)
