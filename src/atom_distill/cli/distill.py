"""`atom distill`: distill a data set into a run folder."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import BaseModel, Field, create_model

from atom_distill.base.errors import ConfigError
from atom_distill.base.parsing import parse_yaml
from atom_distill.cli.options import (
    ALIASES,
    DATASET_HELP,
    CommandOptions,
    DataOptions,
    Flag,
    JsonFlag,
    given,
    group,
    parse,
    settings_options,
    shown,
)
from atom_distill.cli.output import print_json, print_line, print_table
from atom_distill.config.distill import DistillConfig

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.distillation.method import Method, RunPlan

_DESCRIPTION = (
    "Distill a data set to a few synthetic images per class. Settings that you leave out get the papers' values for "
    "the resolution and the images per class (ipc). The result is a folder with the images, their preprocessing, "
    "every setting and a card. `--method NAME --help` shows the settings of a method."
)

_SIZES = frozenset({"ipc", "budget", "bytes"})
"""Settings of which a run has one."""

_ARCH = ("--arch", *ALIASES["arch"])
"""The option of the matching networks."""

Settings = settings_options(DistillConfig, "What the run computes, and how.")


class DistillCommand(CommandOptions):
    """Options of `atom distill`, but for those of the method."""

    dataset: tyro.conf.Positional[str] = Field(description=DATASET_HELP)
    out: Annotated[Path | None, shown("runs/DATASET-METHOD-ipcN")] = Field(
        default=None, description="Folder for the result, its checkpoints and metrics."
    )
    resume: Flag = Field(default=False, description="Continue the run in --out; it ends as if it had never stopped.")
    config: Annotated[Path | None, shown("not used")] = Field(
        default=None, description="YAML file of settings, or a run's config.yaml; options given here override it."
    )
    frequency: Annotated[tuple[int, ...] | None, shown("not used")] = Field(
        default=None,
        description="Short for --parameterization frequency-A-B: how many frequencies of luma and chroma to keep in "
        "each direction, e.g. 12 6, or one number for both.",
    )
    dry_run: Flag = Field(default=False, description="Print the final settings and where each came from, then stop.")
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")
    settings: Settings = group(Settings)  # type: ignore[valid-type]
    data: DataOptions = group(DataOptions)


def command(arguments: Sequence[str]) -> None:
    """Run `atom distill`."""
    options, settings, flags = _read(arguments)
    if not settings.keys() & (_SIZES | {"extend", "add_classes"}) and not (options.resume and options.out):
        raise ConfigError(
            "how many images? Give --ipc N a class, e.g. --ipc 1 or --ipc 10, or --budget M in all, or "
            "--bytes N a class"
        )
    if options.config and "preset" in flags:
        raise ConfigError("--config holds all settings already; give --preset or --config, not both")
    if options.dry_run and options.resume:
        raise ConfigError("--dry-run shows the settings of a new run; those of a run to resume are in its config.yaml")
    from atom_distill.api import distill, plan_distillation
    from atom_distill.base.device import pick_device
    from atom_distill.base.peak_memory import PeakMemory
    from atom_distill.processes.ranks import join

    ranks = join(use_workers=True)
    dataset = options.data.load(options.dataset)
    if options.dry_run:
        _print_plan(plan_distillation(dataset, settings), flags, as_json=options.json_output)
        return
    out = options.out or Path("runs") / _run_name(dataset.name, settings)
    started = time.perf_counter()
    with PeakMemory(pick_device(settings.get("device", "auto"))) as peak:
        distilled = distill(dataset, out=out, resume=options.resume, **settings)
    peaks = ranks.gather((peak.mib, peak.own_mib))
    took = Took(time.perf_counter() - started, *map(max, zip(*peaks, strict=True)))
    _print_result(distilled, out, took, as_json=options.json_output)


def _run_name(dataset_name: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the folder of a run where `--out` is left out."""
    if settings.get("add_classes"):
        return f"{Path(settings['add_classes']).resolve().name}-more-classes"
    sizes = ("budget", "bytes", "pictures", "ipc")
    size = next((f"{name}{settings[name]}" for name in sizes if name in settings), "ipcNone")
    if settings.get("extend"):
        return f"{Path(settings['extend']).resolve().name}-{size}"
    method = str(settings.get("method", "atom")).rpartition(":")[2]
    return f"{dataset_name}-{method}-{size}"


def _read(arguments: Sequence[str]) -> tuple[DistillCommand, dict[str, Any], dict[str, Any]]:
    """Return the options, all given settings, and those among them that were given as options.

    The method decides which options there are, so it is found first.
    """
    arguments = _with_joined_architectures(arguments)
    method = _method(arguments)
    own = settings_options(method.settings_model, f"Settings of {method.title}. {method.description}".strip())
    fields: dict[str, Any] = {}
    if own.model_fields:
        fields["method_settings"] = (own, group(own))
    model = create_model("DistillCommand", __base__=DistillCommand, __doc__="Options of `atom distill`.", **fields)
    options = parse(model, command="distill", description=_DESCRIPTION, arguments=arguments)
    flags = {**given(options.settings), **(given(options.method_settings) if fields else {})}  # type: ignore[attr-defined]
    if options.frequency is not None:
        flags = {**flags, "parameterization": _frequency(options.frequency, flags)}
    return options, {**_overridden(_from_file(options.config), flags), **flags}, flags


def _with_joined_architectures(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with several architectures, `--arch A B`, as one value, `A+B`.

    Where the data set does not come first, the option takes one value alone, which may be `A+B`: the next may be the
    data set.
    """
    joined: list[str] = []
    comes_first, inside = not "".join(arguments[:1]).startswith("-"), False
    for argument in arguments:
        is_option = argument.startswith("-")
        if inside and not is_option and joined[-1] not in _ARCH:
            joined[-1] += f"+{argument}"
            continue
        inside = argument in _ARCH if is_option else inside
        joined.append(argument)
    return joined if comes_first else list(arguments)


def _overridden(content: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a file without its size if an option gives one: a run has only one size."""
    if not flags.keys() & _SIZES:
        return dict(content)
    of_another = _SIZES if "bytes" in flags else _SIZES | {"pictures"}  # which divide the bytes of the file
    return {name: value for name, value in content.items() if name not in of_another}


def _frequency(corners: Sequence[int], flags: Mapping[str, Any]) -> str:
    """Return the parameterization that `--frequency` is short for."""
    if "parameterization" in flags:
        raise ConfigError("--frequency is short for a --parameterization: give one of them")
    if len(corners) not in (1, 2):
        raise ConfigError("--frequency needs one number or two, the corners of luma and chroma, e.g. --frequency 12 6")
    return "-".join(["frequency", *map(str, corners)])


def _method(arguments: Sequence[str]) -> Method:
    """Return the method that the arguments name: in an option, a file of settings or a run to extend; else ATOM."""
    from atom_distill.artifact.card.content import IMPORTED
    from atom_distill.base.own_folders import CONFIG_FILE
    from atom_distill.distillation.methods import find_method
    from atom_distill.distillation.resolve import DEFAULT_METHOD

    found = {"--config": "", "--method": "", "--extend": "", "--add-classes": ""}
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        name = name.replace("_", "-")
        if name in found:
            found[name] = value if equals else " ".join(arguments[place + 1 : place + 2])
    method = found.pop("--method")
    for option, value in found.items():
        file = Path(value) if option == "--config" else Path(value) / CONFIG_FILE
        if value and not method and file.is_file():
            method = str(_from_file(file, option).get("method", ""))
    # An imported set has no method here; it is refused later.
    return find_method(DEFAULT_METHOD if method in ("", IMPORTED) else method)


def method_settings() -> list[type[BaseModel]]:
    """Return the settings of all registered methods."""
    from atom_distill.distillation.methods import METHODS

    return [METHODS.get(name).settings_model for name in METHODS]


def _from_file(path: Path | None, option: str = "--config") -> dict[str, Any]:
    """Return the settings in a file that an option names, or in that of the run that it names."""
    if path is None:
        return {}
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option} {path} cannot be read: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("settings"), dict):
        content = content["settings"]
    if not isinstance(content, dict):
        raise ConfigError(f"{option} {path} must hold settings as 'name: value' lines")
    return {str(name): value for name, value in content.items() if value is not None}


def _print_plan(plan: RunPlan, flags: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the final settings of a plan, and where each comes from."""
    values, origins = _final_settings(plan, flags)
    per_class = plan.images_per_class.tolist()
    pool = {
        "networks": sum(pool.recipe.networks for pool in plan.pools),
        "cached": sum(pool.count_cached() for pool in plan.pools),
    }
    pool = pool if plan.pools else {}
    if as_json:
        images = {"images": sum(per_class), "per_class": per_class}
        print_json({"settings": values, "origin": origins, **images, **({"pool": pool} if pool else {})})
        return
    unset = {"bits": "as many as fit", "memory": "no limit"}
    told = {"preset": f"preset {plan.settings.preset}"}
    rows = [
        [name, unset.get(name, "not used") if value is None else str(value), told.get(origins[name], origins[name])]
        for name, value in values.items()
    ]
    print_table("settings", ["setting", "value", "from"], rows)
    print_line(f"{sum(per_class)} images of {len(per_class)} classes by {plan.method.title}")
    if pool:
        rest = "" if pool["cached"] == pool["networks"] else "; the run trains the others"
        print_line(f"{pool['cached']} of {pool['networks']} networks of the pool are cached{rest}")


def _final_settings(plan: RunPlan, flags: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return values and origins by name; what the user left to the architecture or the form is what they choose."""
    values, origins = plan.all_settings, dict(plan.origins)
    for name, origin in origins.items():
        if origin == "given":
            origins[name] = "option" if name in flags else "file"
    for name in asdict(plan.network.shape):
        chosen = {encoder.arch: getattr(encoder.network.shape, name) for encoder in plan.encoders}
        made = [f"{value} ({arch})" for arch, value in chosen.items() if value is not None]
        if values[name] is None and made:
            values[name] = ", ".join(made) if len(chosen) > 1 else chosen[plan.settings.arch]
            origins[name] = "architecture"
    if plan.settings.bytes is None:
        values["bits"] = plan.settings.value_bits
    else:
        origins["bits"] = "data set and size"
    return values, origins


@dataclass(frozen=True)
class Took:
    """What a run took: seconds, and the peak memory of a process, with mapped files and without, MiB."""

    seconds: float
    peak_mib: float
    peak_own_mib: float


_MOSTLY_USED = 0.9
"""Share of the bytes asked for that a set fills, unless its pictures need no more with the finest rounding."""


def _print_result(distilled: DistilledDataset, out: Path, took: Took, *, as_json: bool) -> None:
    from atom_distill.artifact.card.layout import GRID_FILE
    from atom_distill.base.progress import duration

    picture = out / GRID_FILE
    loss = distilled.history[-1]["loss"] if distilled.history else None
    if as_json:
        images = {"images": len(distilled), "ipc": distilled.ipc, "per_class": distilled.per_class.tolist()}
        result = {"folder": out, "picture": picture, **images, "steps": distilled.steps, "loss": loss}
        stored = {"values": distilled.stored_values, "bytes": distilled.stored_bytes, "pictures": len(distilled)}
        print_json({**result, **stored, **asdict(took)})
        return
    memory = f"peak memory {took.peak_own_mib:.0f} MiB ({took.peak_mib:.0f} with mapped files)"
    print_line(f"{len(distilled)} images after {distilled.steps} steps, {duration(took.seconds)}, {memory}: {out}")
    print_line(f"stored:   {distilled.card_content().size}")
    asked = (distilled.settings.get("bytes") or 0) * len(distilled.class_names)
    if distilled.stored_bytes < _MOSTLY_USED * asked:
        unused = asked - distilled.stored_bytes
        print_line(f"unused:   {unused:,} of {asked:,} bytes; more --pictures would use them, fewer --bytes suffice")
    print_line(f"picture:  {picture}")
    print_line(f"next:     atom evaluate {shlex.quote(str(out))}")
