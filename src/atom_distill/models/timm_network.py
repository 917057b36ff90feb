"""Any classifier of the timm library by its timm name."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Sequence
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
"""Prefix of the name of a timm architecture."""


class TimmNetwork(Network):
    """A timm model as a `Network`.

    Maps are the stages or blocks that timm's `forward_intermediates` returns; the embedding is what `forward_head`
    returns before the logits. A transformer whose blocks attend to all places shows its tokens and attention as well:
    that of its class token, or of all tokens where it has none.

    Args:
        name: with the prefix, for messages.
        build: returns the model with timm's own random initialization, on the CPU.
    """

    def __init__(self, name: str, build: Callable[[], Any]) -> None:
        super().__init__()
        self.name = name
        self._build = build
        self.model: Any = build()
        self.is_transformer = bool(_attentions(self.model))

    def features(self, images: Tensor) -> Features:
        """See `Network.features`.

        Raises:
            ConfigError: timm does not offer the intermediate features of this model.
        """
        if not hasattr(self.model, "forward_intermediates"):
            raise ConfigError(
                f"{self.name} cannot be the matching network: timm does not offer its intermediate features "
                "(forward_intermediates); choose another one, e.g. timm:resnet18"
            )
        with _explicit_attention(self.model) as weights:
            last, maps = self.model.forward_intermediates(images, output_fmt="NCHW")
        embedding = self.model.forward_head(last, pre_logits=True).flatten(1)
        attention = self._attention_to_places(weights, maps)
        if attention is None:
            return Features.of_maps(maps, embedding, lambda: self.model.forward_head(last))
        return Features.of_transformer(maps, attention, embedding, lambda: self.model.forward_head(last))

    def _attention_to_places(self, weights: Sequence[Tensor], maps: Sequence[Tensor]) -> list[Tensor] | None:
        """Return the attention [B, heads, Q, H * W] of each block; None where it is not between all tokens.

        Args:
            weights: as timm computes them, [B, heads, T, T] for tokens that begin with those of no place.
            maps: [B, D, H, W], of each block.
        """
        others = getattr(self.model, "num_prefix_tokens", 0)
        tokens = [others + values.shape[2] * values.shape[3] for values in maps]
        if [values.shape[2:] for values in weights] != [(count, count) for count in tokens]:
            return None
        rows = slice(1) if getattr(self.model, "cls_token", None) is not None else slice(others, None)
        return [values[:, :, rows, others:] for values in weights]

    def forward(self, images: Tensor) -> Tensor:
        """See `Network.forward`."""
        logits: Tensor = self.model(images)
        return logits

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Copy the weights of a newly built model, since timm initializes each model in its own way."""
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            fresh = self._build()
        for old, new in zip(
            chain(self.model.parameters(), self.model.buffers()),
            chain(fresh.parameters(), fresh.buffers()),
            strict=True,
        ):
            old.copy_(new)


@contextlib.contextmanager
def _explicit_attention(model: Any) -> Iterator[list[Tensor]]:
    """Collect the attention weights of a transformer's blocks, which timm's fused attention would not compute."""
    found: list[Tensor] = []
    attentions = _attentions(model)
    fused = [attention.fused_attn for attention in attentions]
    hooks = [attention.attn_drop.register_forward_hook(lambda *call: found.append(call[2])) for attention in attentions]
    try:
        for attention in attentions:
            attention.fused_attn = False
        yield found
    finally:
        for attention, before in zip(attentions, fused, strict=True):
            attention.fused_attn = before
        for hook in hooks:
            hook.remove()


def _attentions(model: Any) -> list[Any]:
    """Return the attention layers of a transformer's blocks; none of a model that has others than timm's usual kind."""
    found = [getattr(block, "attn", None) for block in getattr(model, "blocks", ())]
    usual = all(hasattr(attention, name) for attention in found for name in ("fused_attn", "attn_drop"))
    return found if usual else []


def timm_network(name: str, image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> TimmNetwork:
    """Return a timm model without pretrained weights.

    Args:
        name: "timm:" followed by a name in `timm.list_models()`.
        image_shape: (C, H, W).
        num_classes: K.
        shape: must be empty, since a timm model is determined by its name.

    Raises:
        ConfigError: a setting is given, or the model does not work with images of this shape.
        MissingExtraError: timm is not installed or cannot be imported.
        UnknownNameError: timm has no such model.
    """
    shape.allow(name)
    timm: Any = require("timm", extra="timm", caller=f"the architecture {name}")
    inner = name.removeprefix(PREFIX)
    pretrained = _pretrained_config(timm, inner)
    channels, height, width = image_shape
    settings: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels}
    if getattr(pretrained, "fixed_input_size", False):
        settings["img_size"] = (height, width)
    try:
        network = TimmNetwork(name, partial(timm.create_model, inner, pretrained=False, **settings))
        _check_forward(network, image_shape)
    except Exception as error:
        raise ConfigError(
            f"{name} does not work with {channels}x{height}x{width} images ({type(error).__name__}: {error}); "
            "choose another architecture, or load the data with a larger image size"
        ) from error
    return network


def _pretrained_config(timm: Any, name: str) -> Any:
    """Return what timm knows of the model, by a name with or without the tag of pretrained weights.

    Raises:
        UnknownNameError: there is no such model or tag.
    """
    model, _, tag = name.partition(".")
    if not timm.is_model(model):
        raise _unknown(f"model {name!r}", model, timm.list_models(), "timm.list_models()")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:  # timm's error for a tag
        listing = f"timm.list_models('{model}.*', include_tags=True)"
        known = timm.list_models(f"{model}.*", include_tags=True)
        raise _unknown(f"tag {tag!r} of {model}", name, known, listing) from None


def _unknown(what: str, name: str, known: list[str], listing: str) -> UnknownNameError:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(PREFIX + each) for each in near)}? " if near else ""
    return UnknownNameError(f"timm has no {what}. {hint}{listing} lists all of them")


@torch.no_grad()
def _check_forward(network: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Run one forward pass, so that a model that does not fit the images fails here and not in the first step."""
    network.eval()(torch.zeros(1, *image_shape))
    network.train()
