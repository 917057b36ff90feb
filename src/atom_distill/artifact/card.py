"""The README.md of a distilled set: what it is, a picture, how it was made, its scores, how to use it, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atom_distill.artifact import card_text
from atom_distill.artifact.card_header import data_files, header, title
from atom_distill.artifact.origins import METHODS, UNKNOWN_LICENSE, origin_of
from atom_distill.artifact.scores import Score
from atom_distill.base import markdown

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset

GRID_FILE = "grid.png"
IMPORTED = "imported"
"""The method of a set that was made elsewhere, by nobody knows what."""
_SETTINGS = (
    *("method", "ipc", "budget", "steps", "init", "batch_real", "image_optimizer", "image_lr", "image_average"),
    *("arch", "depth", "width", "norm", "preprocess", "augment", "seed"),
)
"""Those that say how a set was made; the rest is in config.yaml."""


@dataclass(frozen=True)
class Layout:
    """What a card says of the folder that it lies in.

    Attributes:
        data: which files are the data, for the header (`data_files`).
        use: how to load and train on it, Markdown.
        files: name and meaning of each file.
    """

    data: Mapping[str, Any]
    use: str
    files: Sequence[tuple[str, str]]


def card(distilled: DistilledDataset, layout: Layout | None = None) -> str:
    """Write the card as Markdown with the front matter that the Hugging Face hub reads.

    Args:
        distilled: the set.
        layout: of the folder; left out, that of a run.
    """
    layout = layout or run_layout(distilled)
    source = origin_of(distilled.dataset)
    return header(distilled, layout.data) + card_text.TEMPLATE.format(
        title=title(distilled),
        source=_link(source.title, source.homepage),
        train_size=distilled.dataset.get("train_size", "?"),
        images=len(distilled),
        per_class=_per_class(distilled),
        classes=len(distilled.class_names),
        shape="x".join(map(str, distilled.images.shape[1:])),
        made=_made(distilled),
        version=distilled.record.get("atom_distill", "?"),
        grid=GRID_FILE,
        how=_how(distilled),
        scores=_scores(distilled.scores),
        use=layout.use.strip(),
        files=markdown.table(("file", "what"), [(f"`{name}`", what) for name, what in layout.files]),
        matched=_matched(distilled),
        license=_license(distilled),
    )


def run_layout(distilled: DistilledDataset) -> Layout:
    """Describe a run folder; the hub's viewer shows its pictures."""
    return Layout(
        data_files("images/*/*.png"),
        card_text.RUN_USE.format(preprocess=distilled.preprocessing.kind),
        [
            ("distilled.safetensors", f"images [N, C, H, W] float32 in model space, {labels_held(distilled)}"),
            ("preprocessing.safetensors", "the transform between pixels and model space"),
            ("images/", "the same through the inverse transform, as PNG"),
            ("config.yaml", "every setting, the data set, versions, seed"),
            ("metrics.jsonl", "the loss by step and term"),
            ("scores.json", "every evaluation with its protocol"),
        ],
    )


def labels_held(distilled: DistilledDataset) -> str:
    """Say which labels a tensor file holds."""
    if distilled.soft_labels is None:
        return "labels [N] int64"
    return "labels [N] int64 for sorting, soft_labels [N, K] float32 (probabilities) to train on"


def _link(text: str, address: str | None) -> str:
    return text if address is None else f"[{text}]({address})"


def _per_class(distilled: DistilledDataset) -> str:
    counts = distilled.per_class
    return (
        f"{int(counts.min())} to {int(counts.max())} per class"
        if distilled.ipc is None
        else f"{distilled.ipc} per class"
    )


def _made(distilled: DistilledDataset) -> str:
    method, imported = distilled.settings["method"], distilled.record.get("imported")
    if imported is None:
        best = ", the best of its run on held-out training images" if distilled.which == "best" else ""
        return f"made by {method} in {distilled.steps} steps{best}"
    by = "" if method == IMPORTED else f"made by {method}, "
    return f"{by}imported from {', '.join(imported['files'])} ({imported['format']})"


def _how(distilled: DistilledDataset) -> str:
    """Say by which method, and list the settings that matter."""
    settings, record = distilled.settings, distilled.record
    method = str(settings["method"])
    rows = [(f"`{name}`", f"`{settings[name]}`") for name in _SETTINGS if settings.get(name) is not None]
    rows += [("real set's fingerprint", f"`{str(distilled.dataset.get('fingerprint', '?'))[:16]}`")]
    rows += [("torch", f"`{record.get('torch', '?')}`")]
    if method in METHODS:
        name, number = METHODS[method]
        paper = f"The method is {name} ([arXiv {number}](https://arxiv.org/abs/{number})).\n\n"
    else:
        paper = ""
    return paper + markdown.table(("setting", "value"), rows)


def _matched(distilled: DistilledDataset) -> str:
    """Say which networks the images were made for, where that is known."""
    settings = distilled.settings
    if settings.get("arch") is None:
        return "some networks that their makers chose"
    norm = settings.get("norm")
    return f"networks of one kind (`{settings['arch']}`{f', {norm} norm' if norm else ''})"


def _scores(scores: Sequence[Score]) -> str:
    if not scores:
        return "Not evaluated yet: `atom evaluate` adds its scores to the card of a run."
    told = "Networks were trained from scratch on what the row names, and tested on the real test images.\n\n"
    return told + scores_table(scores).strip()


def _license(distilled: DistilledDataset) -> str:
    source = origin_of(distilled.dataset)
    if source.license != UNKNOWN_LICENSE:
        return f"That of {source.title}, from which the images are derived: `{source.license}`."
    where = f"; see [its page]({source.homepage})" if source.homepage else ""
    return (
        f"The images are derived from {source.title}, whose terms apply to them. Its license is not known to the tool "
        f"that wrote this card{where}; ask before you pass the images on."
    )


def scores_table(scores: Sequence[Score]) -> str:
    """Write scores as Markdown tables, one for each protocol, or nothing where there are none."""
    parts = []
    for protocol in dict.fromkeys(score.protocol.name for score in scores):
        mine = [_row(score) for score in scores if score.protocol.name == protocol]
        parts += [
            f"Protocol `{protocol}`, test accuracy in percent, mean and standard deviation over networks:",
            "",
            markdown.table(("trained on", "network", "images", "accuracy", "networks", "precision"), mine),
            "",
        ]
    return "\n".join(parts)


def _row(score: Score) -> list[str]:
    """Write a score as a row of its protocol's table."""
    norm = f" ({score.shape['norm']} norm)" if score.shape.get("norm") else ""
    told = [score.subject, *(["best"] if score.which == "best" else [])]
    return [
        ", ".join([*told, *(["soft labels"] if score.labels == "soft" else [])]),
        f"{score.arch}{norm}",
        str(score.images),
        f"{score.mean:.1f} +- {score.std:.1f}",
        str(len(score.runs)),
        score.precision,
    ]
