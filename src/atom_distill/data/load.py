"""Loading a data set by name or from a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.base.files import expand_home
from atom_distill.base.registry import unknown_name
from atom_distill.data.cache.raw import LoadOptions
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.sources.hub import is_cached, is_repository, load_repository
from atom_distill.data.sources.named import SOURCES, is_named, load_named, needs_no_fetching
from atom_distill.data.sources.paths import load_path
from atom_distill.data.sources.splits import check_fraction
from atom_distill.data.subset import only_classes, require_test_images, with_images


def load_dataset(  # noqa: PLR0913 (each argument is a choice of the user's)
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    test_fraction: float | None = None,
    classes: int | Sequence[str] | None = None,
    skip_unreadable: bool = False,
    seed: int = 0,
    test_split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    refresh: bool = False,
) -> ImageDataset:
    """Load a data set in this process, whether or not there are others.

    `atom_distill.load_dataset`, which also coordinates several processes, documents the arguments and errors.
    """
    options = LoadOptions(image_size, test_fraction, skip_unreadable, seed, test_split, image_column, label_column)
    if test_fraction is not None:
        check_fraction(test_fraction)
        options.refuse("the test split is that of `test_fraction`", "test_split")
    folder = None if data_dir is None else expand_home(data_dir)
    dataset = _load(name_or_path, folder, options, refresh=refresh)
    request = _request(name_or_path, folder, options)
    if classes is not None:
        dataset = only_classes(dataset, classes)
        request["classes"] = classes if isinstance(classes, int) else list(classes)
    dataset = with_images(dataset)
    if test_fraction is not None:
        require_test_images(dataset)
    return replace(dataset, request=request)


def is_at_hand(name_or_path: str | Path, *, data_dir: str | Path | None = None, **options: Any) -> bool:
    """Return whether `load_dataset` could load a set without fetching anything; it takes the same arguments."""
    if is_named(name_or_path):
        return needs_no_fetching(str(name_or_path), None if data_dir is None else expand_home(data_dir))
    if _is_on_hub(name_or_path):
        known = {field.name for field in fields(LoadOptions)}
        chosen = LoadOptions(**{name: value for name, value in options.items() if name in known})
        return is_cached(str(name_or_path), chosen)
    return expand_home(name_or_path).exists()


def is_fetchable(name_or_path: str | Path) -> bool:
    """Return whether `load_dataset` would fetch what is not here: a known name, or one of the form `owner/name`."""
    return is_named(name_or_path) or _is_on_hub(name_or_path)


def _is_on_hub(name_or_path: str | Path) -> bool:
    """Return whether this can only be a set of the hub; what exists here, or has a name of its own, comes first."""
    return not is_named(name_or_path) and is_repository(name_or_path) and not expand_home(name_or_path).exists()


def _load(name_or_path: str | Path, data_dir: Path | None, options: LoadOptions, *, refresh: bool) -> ImageDataset:
    name = str(name_or_path)
    if is_named(name_or_path):
        return load_named(name, data_dir, options, refresh=refresh)
    path = expand_home(name_or_path)
    if name.strip() and path.exists():  # "" would be the working folder
        if data_dir is not None:
            raise ConfigError(f"`data_dir` is for named sets; {name} is a path already, so leave it out")
        return load_path(path, options, refresh=refresh)
    if _is_on_hub(name_or_path):
        if data_dir is not None:
            raise ConfigError(
                f"`data_dir` is for named sets, and {name} is neither a named set nor an existing path; "
                "give the path alone"
            )
        return load_repository(name, options, refresh=refresh)
    raise UnknownNameError(
        f"{unknown_name('data set', name, SOURCES.names())}; or a path to class folders, parquet files, an npz file "
        "or a saved Hugging Face data set (no such path here); or `owner/name` of a data set on the Hugging Face hub"
    )


def _request(name_or_path: str | Path, data_dir: Path | None, options: LoadOptions) -> dict[str, Any]:
    """Return the arguments that load the set again, from any working folder."""
    is_name = is_named(name_or_path) or _is_on_hub(name_or_path)
    arguments = {
        "name_or_path": name_or_path if is_name else str(expand_home(name_or_path).resolve()),
        "data_dir": data_dir and str(data_dir.resolve()),
        **asdict(options),
    }
    return {name: value for name, value in arguments.items() if value}
