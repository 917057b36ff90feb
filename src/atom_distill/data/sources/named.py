"""The named data sets, and the order of the places where each is looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.base.files import cache_root
from atom_distill.base.progress import note
from atom_distill.base.registry import Registry
from atom_distill.data.cache import store
from atom_distill.data.cache.raw import LoadOptions, NotHereError, RawDataset
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.sources import cifar, hub, npm, tiny_imagenet
from atom_distill.data.sources.arrow_tables import Columns
from atom_distill.data.sources.cifar_names import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from atom_distill.data.sources.digits import load_digits


@dataclass(frozen=True)
class Request:
    """What a user asked for.

    Attributes:
        data_dir: where a published copy may lie, or None.
        options: how encoded images become arrays; a named set keeps its own size here.
        refresh: make the cached copy anew.
    """

    data_dir: Path | None
    options: LoadOptions
    refresh: bool


Source: TypeAlias = Callable[[Request], ImageDataset]
SOURCES: Registry[Source] = Registry("data set")


@dataclass(frozen=True)
class Published:
    """A set that others publish: cache, --data-dir, hub, then what else there is.

    Attributes:
        find: reads a published copy from a folder or file.
        hub_set: where it is on the hub.
        advice: which file to fetch by hand, and from where.
        last: one more place, or None.
    """

    name: str
    find: Callable[[Path], RawDataset]
    hub_set: hub.HubSet
    advice: str
    last: Callable[[], RawDataset] | None = None

    def __call__(self, request: Request) -> ImageDataset:
        """Open the set from the first place that has it, and leave it in the cache."""
        slot = store.Slot(cache_root() / self.name, self.name, self.name)
        if not request.refresh and slot.is_filled():
            return store.load(slot)
        return store.save(self._first(request, slot), slot, request.options)

    def _first(self, request: Request, slot: store.Slot) -> RawDataset:
        tried = [f"the cache ({slot.folder}{', not used because of --refresh' if request.refresh else ''})"]
        data_dir = request.data_dir
        places: list[Callable[[], RawDataset]] = [lambda: hub.fetch(self.hub_set)]
        if data_dir is not None:
            places.insert(0, lambda: self._from_folder(data_dir))
        else:
            tried.append("--data-dir (not given)")
        if self.last is not None:
            places.append(self.last)
        for place in places:
            try:
                return place()
            except NotHereError as error:
                tried.append(str(error))
        raise DataError(
            f"data set {self.name} was not found. Tried: {'; '.join(tried)}. "
            f"What to do: {self.advice}, and pass its folder with --data-dir; "
            "or point ATOM_DATA to a cache folder that has the set"
        )

    def _from_folder(self, data_dir: Path) -> RawDataset:
        if not data_dir.exists():
            raise DataError(f"--data-dir {data_dir} does not exist")
        try:
            return self.find(data_dir)
        except NotHereError as error:
            note(f"{error}; looking elsewhere")
            raise


def _find_cifar10(where: Path) -> RawDataset:
    for tarball in (where, where / npm.TARBALL):
        if tarball.name == npm.TARBALL and tarball.is_file():
            return npm.read_package(tarball)
    return cifar.find_cifar10(where)


@SOURCES.register("digits")
def _digits(request: Request) -> ImageDataset:
    if request.data_dir is not None:
        raise ConfigError("digits come with scikit-learn, not from a folder; leave out --data-dir")
    return load_digits()


SOURCES.register("cifar10")(
    Published(
        name="cifar10",
        find=_find_cifar10,
        hub_set=hub.HubSet("uoft-cs/cifar10", Columns("img", "label"), CIFAR10_CLASSES),
        advice="fetch cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
        last=npm.fetch_cifar10,
    )
)
SOURCES.register("cifar100")(
    Published(
        name="cifar100",
        find=cifar.find_cifar100,
        hub_set=hub.HubSet("uoft-cs/cifar100", Columns("img", "fine_label"), CIFAR100_CLASSES),
        advice="fetch cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
    )
)
SOURCES.register("cifar100-coarse")(
    Published(
        name="cifar100-coarse",
        find=cifar.find_cifar100_coarse,
        hub_set=hub.HubSet("uoft-cs/cifar100", Columns("img", "coarse_label"), CIFAR100_SUPERCLASSES),
        advice="fetch cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
    )
)
SOURCES.register("tiny-imagenet")(
    Published(
        name="tiny-imagenet",
        find=tiny_imagenet.find,
        hub_set=hub.HubSet("zh-plus/tiny-imagenet", Columns("image", "label")),
        advice="fetch tiny-imagenet-200.zip from http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    )
)
