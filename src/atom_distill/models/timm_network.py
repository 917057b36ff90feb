"""Any classifier of the timm library, by its name there."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.optional import require
from atom_distill.models.network import Network
from atom_distill.ops.features import Features

PREFIX = "timm:"
"""What an architecture's name begins with if the rest is timm's."""


class TimmNetwork(Network):
    """A timm model as a network of ours.

    Maps are the stages or blocks that timm's `forward_intermediates` shows; the embedding is what `forward_head` gives
    before the logits.

    Args:
        name: with the prefix, for messages.
        fresh: builds the model with timm's own random initialization, on the CPU.
    """

    def __init__(self, name: str, fresh: Callable[[], Any]) -> None:
        super().__init__()
        self.name = name
        self._fresh = fresh
        self.model: Any = fresh()

    def features(self, images: Tensor) -> Features:
        """See `Network.features`.

        Raises:
            ConfigError: timm does not show the inside of this model.
        """
        if not hasattr(self.model, "forward_intermediates"):
            raise ConfigError(
                f"{self.name} cannot be the matching network: timm gives no intermediate features of it "
                "(no forward_intermediates); choose another, e.g. timm:resnet18"
            )
        last, maps = self.model.forward_intermediates(images, output_fmt="NCHW")
        embedding = self.model.forward_head(last, pre_logits=True).flatten(1)
        return Features.of_maps(maps, embedding, lambda: self.model.forward_head(last))

    def forward(self, images: Tensor) -> Tensor:
        """See `Network.forward`; some heads of timm are more than a linear layer."""
        logits: Tensor = self.model(images)
        return logits

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Take over the weights of a new model: timm's layers have initializations of their own."""
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            fresh = self._fresh()
        for old, new in zip(
            chain(self.model.parameters(), self.model.buffers()),
            chain(fresh.parameters(), fresh.buffers()),
            strict=True,
        ):
            old.copy_(new)


def timm_network(name: str, image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> TimmNetwork:
    """Build a timm model without pretrained weights.

    Args:
        name: "timm:" and a name that `timm.list_models()` has.
        image_shape: (C, H, W).
        num_classes: K.
        shape: must leave everything to timm: a timm model has no settings but its name.

    Raises:
        ConfigError: a setting is given, or the model cannot take such images.
        MissingExtraError: timm is absent or broken.
        UnknownNameError: timm has no such model.
    """
    shape.allow(name)
    timm: Any = require("timm", extra="timm", caller=f"the architecture {name}")
    inner = name.removeprefix(PREFIX)
    if not timm.is_model(inner):
        near = difflib.get_close_matches(inner, timm.list_models(), n=2, cutoff=0.5)
        hint = f"Did you mean {' or '.join(repr(PREFIX + each) for each in near)}? " if near else ""
        raise UnknownNameError(f"timm has no model {inner!r}. {hint}timm.list_models() names them all")
    channels, height, width = image_shape
    settings: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels}
    if getattr(timm.get_pretrained_cfg(inner), "fixed_input_size", False):
        settings["img_size"] = (height, width)
    try:
        network = TimmNetwork(name, partial(timm.create_model, inner, pretrained=False, **settings))
        _try_out(network, image_shape)
    except Exception as error:
        raise ConfigError(
            f"{name} cannot take {channels}x{height}x{width} images ({type(error).__name__}: {error}); "
            "choose another architecture, or load the data with a larger image size"
        ) from error
    return network


@torch.no_grad()
def _try_out(network: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Let what does not fit the images fail here and not in the first step."""
    network.eval()(torch.zeros(1, *image_shape))
    network.train()
