"""Damaged command lines: words left out, doubled, moved, and values of any other kind."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from reliability.children import Place
from reliability.damaged_data import Lines
from reliability.samples import QUICK

_EVALUATION = [*QUICK, "--repeats", "1", "--epochs", "1"]
_BASES: tuple[list[str], ...] = (
    ["distill", "digits", "--ipc", "1", "--steps", "1", "--batch-real", "2", *QUICK, "--out", "new"],
    ["distill", "PETS", "--ipc", "1", "--steps", "1", "--image-size", "8", "--classes", "2", *QUICK, "--init", "noise"],
    ["distill", "digits", "--budget", "12", "--steps", "1", "--norm", "batch", *QUICK, "--preprocess", "zca"],
    ["distill", "digits", "--method", "dsa", "--ipc", "1", "--steps", "1", "--augment", "color_crop", *QUICK],
    ["distill", "digits", "--method", "random", "--ipc", "1", "--seed", "3", "--json", *QUICK],
    ["distill", "PETS", "--resume", "--out", "run", "--steps", "5"],
    ["distill", "digits", "--ipc", "10", "--preset", "fast", "--dry-run", "--json", "--arch", "vit", "--depth", "2"],
    ["distill", "digits", "--config", "run/config.yaml", "--dry-run", "--image-lr", "0.1"],
    ["evaluate", "run", *_EVALUATION, "--which", "best", "--arch", "convnet", "--augment", "none"],
    ["evaluate", "digits", "--random", "--ipc", "1", *_EVALUATION, "--protocol", "dm", "--lr", "0.1"],
    ["evaluate", "PETS", "--random", "--ipc", "1", *_EVALUATION, "--preprocess", "normalize", "--classes", "cat"],
    ["evaluate", "run", "--ddranking", "--whole-accuracy", "50", *_EVALUATION],
    ["export", "run", "--to", "npz", "--out", "set.npz", "--force"],
    ["export", "run", "--to", "hf", "--which", "best", "--json"],
    ["import", "run", "--as", "digits", "--preprocess", "zca", "--out", "imported", "--method", "dm"],
    ["data", "PETS", "--json", "--sheet", "sheet.png", "--image-size", "8", "--skip-unreadable"],
    ["data", "digits", "--json", "--refresh", "--classes", "3"],
    ["data", "cifar10", "--data-dir", "run", "--json"],
    ["search", "run", "--sample", "1", "--epochs", "1", "--proxies", "random", "--dry-run", "--space", "convnets-720"],
    ["reproduce", "table1", "--ipc", "1", "--steps", "1", "--effort", "0.1", "--dry-run", "--datasets", "digits"],
    ["reproduce", "cross-arch", "--cells", "atom/*", "--repeats", "1", "--dry-run", "--archs", "convnet", "vgg11"],
    ["report", "--images", "1", "--json", "--out", "page.html", "nowhere"],
    ["watch", "nowhere", "--every", "1", "--out", "watch.html"],
)
_VALUES = (
    "", " ", "-", "--", "0", "-1", "1", "2", "1.5", "1e3", "nan", "inf", "-inf", "0x10", "1_0", "\u0663", "x", "None",
    "True", "none", "auto", "~", "~root", ".", "..", "/", "/dev/null", "/proc/self/mem", "run", "run/config.yaml",
    "run/distilled.safetensors", "run/README.md/x", "a" * 300, "b/" * 3000, "[bold]", "[/x]", "\n", "a\nb", "\u202e",
    "\u00fcber", "\U0001f40d", "\udcff", "%s", "{}", "$HOME", "cuda", "mps", "cuda:9", "meta", "os:system", "x:y",
    "atom_distill:__version__", "timm:x", "*", "a,b", "cat dog", "digits", "cifar100", "dn", "dm", "9" * 30,
)  # fmt: skip
_LARGE = ("--steps", "--epochs", "--repeats", "--whole-epochs", "--eval-epochs", "--selection-epochs")
"""Options of time: where asked to, a command runs for as long as it was told."""


def lines(intact: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a command line; the run that it may name is a copy."""
    shutil.copytree(intact / "run", place.here / "run")
    base = draw.choice(_BASES)
    words = [str(intact / "pets") if word == "PETS" else word for word in base]
    for _ in range(draw.choice((1, 1, 2, 3))):
        words = _damaged(words, draw)
    return [_within_reason(words)]


def _damaged(words: list[str], draw: random.Random) -> list[str]:
    at, action = draw.randrange(len(words)), draw.randrange(8)
    words = list(words)
    if action == 0:
        del words[at]
    elif action == 1:
        words.insert(at, words[at])
    elif action == 2:
        other = draw.randrange(len(words))
        words[at], words[other] = words[other], words[at]
    elif action == 3:
        words.insert(at + 1, draw.choice(draw.choice(_BASES)))
    elif action == 4:
        options = [word for word in draw.choice(_BASES) if word.startswith("--")] or ["--json"]
        words += [draw.choice(options), draw.choice(_VALUES)][: draw.choice((1, 2))]
    else:
        words[at] = draw.choice(_VALUES)
    return words or [""]


def _within_reason(words: list[str]) -> list[str]:
    """Return the words without values that ask for hours, which are no mistake of the command."""
    kept = list(words)
    lasts = "reproduce" in words or ("distill" in words and "--steps" not in words)
    if lasts and "--dry-run" not in words:
        kept.append("--dry-run")  # whole tables, and runs of the papers' length
    for at, word in enumerate(words[1:], start=1):
        if words[at - 1] in _LARGE and word.strip("0123456789_") == "" and len(word) > 1:
            kept[at] = "2"
    return kept
