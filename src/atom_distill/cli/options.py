"""Command-line options: what is shared between commands, and how settings become options."""

from __future__ import annotations

import contextlib
import inspect
import os
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, Union, get_args, get_origin

import tyro
from pydantic import BaseModel, Field, ValidationError, create_model, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from atom_distill.base.errors import AtomError
from atom_distill.base.progress import is_main_process
from atom_distill.config.presets import problems

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from atom_distill.data.dataset import ImageDataset

Model = TypeVar("Model", bound=BaseModel)


class CommandOptions(BaseModel):
    """Base of the options of a command: a value out of range is told in one sentence."""

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return build(values)
        except ValidationError as error:
            # No ValueError: pydantic would wrap it again, and tyro print several lines in a box.
            raise AtomError("; ".join(problems(error))) from None


def parse(options: type[Model], *, command: str, description: str, arguments: Sequence[str]) -> Model:
    """Parse a command's arguments; on `--help` or a wrong option this prints and exits (0 or 2)."""
    with contextlib.ExitStack() as silence:
        if not is_main_process():  # of several, which all read the same line
            nowhere = silence.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            silence.enter_context(contextlib.redirect_stdout(nowhere))
            silence.enter_context(contextlib.redirect_stderr(nowhere))
        return tyro.cli(
            options,
            prog=f"atom {command}",
            description=description,
            args=list(arguments),
            # Help is in descriptions; to look for comments, tyro would tokenize this package at every start.
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone, tyro.conf.HelptextFromCommentsOff),
        )


Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A switch that is off unless given."""

JsonFlag = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="json")]
"""`--json`: the field cannot have that name, which pydantic uses."""


def shown(default: str, aliases: Sequence[str] = ()) -> Any:
    """Annotate an option that may be left out with the default that people read, and with other names of it."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {default})", aliases=tuple(aliases))


def group(options: type[BaseModel]) -> Any:
    """Return a field that is a group of options; its help is given, since tyro would look for it in source files."""
    return Field(default_factory=options, description=inspect.getdoc(options))


ALIASES = {"arch": ("--matching-arch",)}
"""Other names of settings: `atom evaluate --arch` names other networks than `atom distill --arch` does."""


def settings_options(model: type[BaseModel], title: str, leave_out: Sequence[str] = ()) -> type[BaseModel]:
    """Return a model whose fields are those of `model`, each an option that may be left out.

    Names, types, help and defaults of the settings all come from `model`.

    Args:
        model: of the settings.
        title: of the group of options.
        leave_out: names of fields that become no options.
    """
    fields: dict[str, Any] = {
        name: (
            Annotated[_without_none(info.annotation) | None, shown(_default_text(info), ALIASES.get(name, ()))],
            Field(default=None, description=info.description),
        )
        for name, info in model.model_fields.items()
        if name not in leave_out
    }
    return create_model("Settings", __doc__=title, **fields)


def given(options: BaseModel) -> dict[str, Any]:
    """Return the options that the user gave."""
    return {name: value for name, value in options if value is not None}


DATASET_HELP = (
    "digits, cifar10, cifar100, cifar100-coarse, tiny-imagenet, a path to class folders, zip, parquet, npz or a "
    "saved set, or owner/name of a set on the Hugging Face hub."
)


class DataOptions(BaseModel):
    """Where the real images come from and how they are read."""

    data_dir: Annotated[Path | None, shown("not used")] = Field(
        default=None, description="Your copy of a named set in a published layout: its archive or folder."
    )
    image_size: Annotated[int | None, shown("as stored")] = Field(
        default=None, description="Resize and crop images to this height and width (pixels)."
    )
    test_fraction: Annotated[float | None, shown("the set's own test split")] = Field(
        default=None, description="Share of each class to hold out for testing, for data without a test split."
    )
    test_split: Annotated[str | None, shown("the first of test, val, dev, eval")] = Field(
        default=None, description="Name of the split to test on, if there are several."
    )
    image_column: Annotated[str | None, shown("inferred")] = Field(
        default=None, description="Column of the images, if several fit."
    )
    label_column: Annotated[str | None, shown("inferred")] = Field(
        default=None, description="Column of the labels, if several fit."
    )
    classes: Annotated[tuple[str, ...] | None, shown("all")] = Field(
        default=None, description="Classes to keep, by name; or a number N for the first N."
    )
    skip_unreadable: Flag = Field(default=False, description="Leave out images that cannot be decoded, and count them.")

    @property
    def classes_wanted(self) -> int | tuple[str, ...] | None:
        """Read one number as a count."""
        if self.classes is not None and len(self.classes) == 1 and self.classes[0].isdecimal():
            return int(self.classes[0])
        return self.classes

    def load(self, name_or_path: str, **more: Any) -> ImageDataset:
        """Load the data set with these options."""
        from atom_distill.api import load_dataset

        return load_dataset(
            name_or_path,
            data_dir=self.data_dir,
            image_size=self.image_size,
            test_fraction=self.test_fraction,
            test_split=self.test_split,
            image_column=self.image_column,
            label_column=self.label_column,
            classes=self.classes_wanted,
            skip_unreadable=self.skip_unreadable,
            **more,
        )


def _default_text(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    if isinstance(extra, dict) and "default_text" in extra:
        return str(extra["default_text"])
    return "none, give it" if info.is_required() else str(info.default)


def _without_none(annotation: Any) -> Any:
    """Strip None from a type that allows it."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(kind for kind in get_args(annotation) if kind is not types.NoneType)
    return annotation
