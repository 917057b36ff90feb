"""`atom distill`: distill a data set into a run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import BaseModel, Field

from atom_distill.base.errors import ConfigError
from atom_distill.cli.options import DATASET_HELP, DataOptions, Flag, JsonFlag, given, parse, settings_options, shown
from atom_distill.cli.output import print_json, print_line, print_table
from atom_distill.config.distill import DistillConfig

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.config.presets import Resolved

_DESCRIPTION = (
    "Distill a data set to a few synthetic images per class. What is left out gets the papers' value for the "
    "resolution and ipc. The result is a folder with the images, their preprocessing, every setting and a card."
)

Settings = settings_options(DistillConfig)


class DistillCommand(BaseModel):
    """Options of `atom distill`."""

    dataset: tyro.conf.Positional[str] = Field(description=DATASET_HELP)
    out: Annotated[Path | None, shown("runs/DATASET-METHOD-ipcN")] = Field(
        default=None, description="Folder for the result, its checkpoints and metrics."
    )
    resume: Flag = Field(default=False, description="Go on with the run in --out, bit for bit.")
    config: Annotated[Path | None, shown("not used")] = Field(
        default=None, description="YAML file of settings, or a run's config.yaml; options given here come first."
    )
    dry_run: Flag = Field(default=False, description="Print the final settings and where each came from, then stop.")
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")
    settings: Settings = Field(default_factory=Settings, description="What the run computes, and how.")  # type: ignore[valid-type]
    data: DataOptions = Field(default_factory=DataOptions)


def command(arguments: Sequence[str]) -> None:
    """Run `atom distill`."""
    options = parse(DistillCommand, command="distill", description=_DESCRIPTION, arguments=arguments)
    flags = given(options.settings)
    settings = {**_from_file(options.config), **flags}
    if not settings.keys() & {"ipc", "budget"} and not (options.resume and options.out):
        raise ConfigError("how many images? Give --ipc N a class, e.g. --ipc 1 or --ipc 10, or --budget M in all")
    if options.config and "preset" in flags:
        raise ConfigError("--config holds all settings already; give --preset or --config, not both")
    if options.dry_run and options.resume:
        raise ConfigError("--dry-run shows the settings of a new run; those of a run to resume are in its config.yaml")
    from atom_distill.api import judge
    from atom_distill.base.device import pick_device
    from atom_distill.base.peak_memory import PeakMemory
    from atom_distill.distillation.run import run
    from atom_distill.distillation.settings import note_unused, settings_for
    from atom_distill.processes.ranks import current_ranks

    dataset = options.data.load(options.dataset)
    if options.dry_run:
        resolved = settings_for(dataset, settings)
        note_unused(settings, resolved.config)
        _print_settings(resolved, flags, as_json=options.json_output)
        return
    size = f"budget{settings['budget']}" if "budget" in settings else f"ipc{settings.get('ipc')}"
    out = options.out or Path("runs") / f"{dataset.name}-{settings.get('method', 'atom')}-{size}"
    started = time.perf_counter()
    with PeakMemory(pick_device(settings.get("device", "auto"))) as peak:
        distilled = run(dataset, settings, out=out, resume=options.resume, judge=judge)
    everybodys = current_ranks().gather((peak.mib, peak.own_mib))
    took = Took(time.perf_counter() - started, *map(max, zip(*everybodys, strict=True)))
    _print_result(distilled, out, took, as_json=options.json_output)


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())  # a YAML error is a drawing of several lines
        raise ConfigError(f"--config {path} cannot be read: {reason}") from None
    if isinstance(content, dict) and isinstance(content.get("settings"), dict):
        content = content["settings"]
    if not isinstance(content, dict):
        raise ConfigError(f"--config {path} must hold settings as 'name: value' lines")
    return {str(name): value for name, value in content.items() if value is not None}


def _print_settings(resolved: Resolved, flags: dict[str, Any], *, as_json: bool) -> None:
    origins = {
        name: "option" if name in flags else "file" if origin == "given" else origin
        for name, origin in resolved.origin.items()
    }
    values = resolved.config.model_dump()
    if as_json:
        print_json({"settings": values, "origin": origins})
        return
    rows = [[name, _value_text(value), origins[name]] for name, value in values.items()]
    print_table("settings", ["setting", "value", "from"], rows)


def _value_text(value: object) -> str:
    return "left to the method or network" if value is None else str(value)


@dataclass(frozen=True)
class Took:
    """What a run took: seconds, and the most memory that a process had, with mapped files and without, MiB."""

    seconds: float
    peak_mib: float
    peak_own_mib: float


def _print_result(distilled: DistilledDataset, out: Path, took: Took, *, as_json: bool) -> None:
    from atom_distill.artifact.card import GRID_FILE
    from atom_distill.base.progress import duration

    picture = out / GRID_FILE
    loss = distilled.history[-1]["loss"] if distilled.history else None
    if as_json:
        images = {"images": len(distilled), "ipc": distilled.ipc, "per_class": distilled.per_class.tolist()}
        result = {"folder": out, "picture": picture, **images, "steps": distilled.steps, "loss": loss}
        print_json({**result, **asdict(took)})
        return
    memory = f"{took.peak_own_mib:.0f} MiB of memory at most ({took.peak_mib:.0f} with mapped files)"
    print_line(f"{len(distilled)} images after {distilled.steps} steps, {duration(took.seconds)}, {memory}: {out}")
    print_line(f"picture:  {picture}")
    print_line(f"next:     atom evaluate {out}")
