"""The card as Markdown: what the set is, a picture, its scores, how to use it, how it was made, its limits."""

from __future__ import annotations

from collections.abc import Sequence

from atom_distill.artifact.card import text
from atom_distill.artifact.card.content import IMPORTED, CardContent
from atom_distill.artifact.card.header import header
from atom_distill.artifact.card.layout import GRID_FILE, Layout, run_layout
from atom_distill.artifact.origins import UNKNOWN_LICENSE, Origin
from atom_distill.artifact.scores import Score
from atom_distill.base import markdown
from atom_distill.config.distill import architectures_of

_SETTINGS = (
    *("method", "ipc", "budget", "bytes", "steps", "init", "batch_real"),
    *("image_optimizer", "image_lr", "image_average"),
    *("arch", "depth", "width", "norm", "preprocess", "augment", "parameterization", "bits", "seed"),
)
"""The settings that say how a set was made; the others are in config.yaml."""

_ACCURACY = {"hard": "accuracy", "soft": "accuracy, soft labels"}
"""Head of the column of scores by the labels that networks were trained on."""


def render_card(content: CardContent, layout: Layout | None = None) -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        content: what to show of the set.
        layout: of the folder; None for that of a run.
    """
    layout, source = layout or run_layout(content), content.source
    title = markdown.escaped(source.title)
    return header(content, layout.data) + text.TEMPLATE.format(
        title=markdown.escaped(content.title),
        source=title if source.homepage is None else f"[{title}]({source.homepage})",
        train_size=content.dataset.get("train_size", "?"),
        images=content.images,
        kind="real" if content.is_selection else "synthetic",
        per_class=_per_class(content.per_class),
        classes=len(content.class_names),
        shape="x".join(map(str, content.image_shape)),
        made=_made(content),
        version=content.record.get("atom_distill", "?"),
        grid=GRID_FILE,
        how=_how(content),
        scores=_scores(content.scores),
        use=layout.use.strip(),
        files=markdown.table(("file", "content"), [(f"`{name}`", what) for name, what in layout.files]),
        matched=_matched(content),
        license=_license(source),
    )


def _per_class(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low} per class" if low == high else f"{low} to {high} per class"


def _made(content: CardContent) -> str:
    imported = content.record.get("imported")
    if content.is_selection:
        return f"chosen by {content.method_title}{_added(content)}"
    if imported is None:
        best = ", the best of its run on held-out training images" if content.which == "best" else ""
        steps = "1 step" if content.steps == 1 else f"{content.steps} steps"
        return f"made by {content.method_title} in {steps}{best}{_added(content)}"
    by = "" if content.method == IMPORTED else f"made by {content.method_title}, "
    files = ", ".join(map(markdown.escaped, imported["files"]))
    return f"{by}imported from {files} ({imported['format']})"


def _added(content: CardContent) -> str:
    """Return to which finished set the images were added, if to any."""
    extended = content.record.get("extended")
    if extended is None:
        return ""
    name = markdown.escaped(str(extended["folder"]).rpartition("/")[2])
    what, had = "images", extended["images"]
    if extended["classes"] < len(content.class_names):
        what, had = "classes", extended["classes"]
    return f" which added {what} to the {had} of {name}, left as they are,"


def _how(content: CardContent) -> str:
    """Return the method's paper and a table of the settings that matter."""
    used = content.settings_used
    rows = [(f"`{name}`", f"`{used[name]}`") for name in _SETTINGS if used.get(name) is not None]
    rows += [("stored", content.size)] if content.stored_bytes else []
    rows += [("data set fingerprint", f"`{str(content.dataset.get('fingerprint', '?'))[:16]}`")]
    rows += [("torch", f"`{content.record.get('torch', '?')}`")]
    paper = ""
    if content.paper is not None:
        link = f"[arXiv {content.paper}](https://arxiv.org/abs/{content.paper})"
        paper = f"The method is {content.method_title} ({link}).\n\n"
    return paper + markdown.table(("setting", "value"), rows)


def _matched(content: CardContent) -> str:
    """Return for which networks the images were made, where that is known."""
    arch, norm = content.settings.get("arch"), content.settings.get("norm")
    if arch is None:
        return "networks chosen by its makers"
    names = architectures_of(str(arch))
    kinds = "one kind" if len(names) == 1 else "several kinds"
    told = " and ".join(f"`{name}`" for name in names)
    return f"{kinds} of network ({told}{f', {norm} norm' if norm else ''})"


def _scores(scores: Sequence[Score]) -> str:
    if not scores:
        return "Not evaluated yet: `atom evaluate` adds its scores to the card of a run."
    told = "Networks were trained from scratch on the set that each row names, and tested on the real test images."
    return f"{told}\n\n{scores_table(scores).strip()}"


def _license(source: Origin) -> str:
    title = markdown.escaped(source.title)
    if source.license != UNKNOWN_LICENSE:
        return f"That of {title}, from which the images are derived: `{source.license}`."
    where = f"; see [its page]({source.homepage})" if source.homepage else ""
    return (
        f"The images are derived from {title}, whose terms apply to them. Its license is not known to the tool "
        f"that wrote this card{where}; ask before you pass the images on."
    )


def scores_table(scores: Sequence[Score]) -> str:
    """Return scores as Markdown tables, one for each protocol; empty if there are no scores."""
    parts = []
    for protocol in dict.fromkeys(score.protocol.name for score in scores):
        alike = [score for score in scores if score.protocol.name == protocol]
        # Soft labels are more information than class numbers: their scores have a column of their own.
        kinds = [labels for labels in ("hard", "soft") if any(score.labels == labels for score in alike)]
        accuracies = [_ACCURACY[labels] for labels in kinds]
        parts += [
            f"Protocol `{protocol}`, test accuracy in percent, mean and standard deviation over networks:",
            "",
            markdown.table(
                ("trained on", "network", "images", *accuracies, "networks", "precision"),
                [_row(score, kinds) for score in alike],
            ),
            "",
        ]
    return "\n".join(parts)


def _row(score: Score, kinds: Sequence[str]) -> list[str]:
    best = score.which == "best"
    first = None if score.first is None else f"first {score.first} of each class"
    return [
        ", ".join([score.subject, *filter(None, (score.form, "best" if best else None, first))]),
        score.network,
        str(score.images),
        *(score.summary if labels == score.labels else "-" for labels in kinds),
        str(len(score.runs)),
        score.precision,
    ]
