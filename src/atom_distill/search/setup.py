"""From distilled runs, real images and architectures to a search: what the command and the Python name call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import AtomError, ConfigError, InterruptedRunError
from atom_distill.base.files import cache_root
from atom_distill.base.progress import note
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.dataset import ImageDataset
from atom_distill.search.data import SearchData, search_data
from atom_distill.search.plan import Plan, halving_epochs
from atom_distill.search.proxy import Proxy, distilled_proxy, early_stop_proxy, random_proxy, whole_proxy
from atom_distill.search.report import write_report
from atom_distill.search.search import Search
from atom_distill.search.space import Candidate, Space, Unfit, distinct, fitting, sample
from atom_distill.search.store import TrialStore
from atom_distill.search.workers import InProcess, Workers


@dataclass(frozen=True)
class SearchSettings:
    """How a search is done.

    Attributes:
        proxies: names of those to train on; empty for all there are.
        sample: architectures drawn from those that fit the images; None for all.
        epochs: of a training on distilled or random images; early stopping has as many updates.
        whole_epochs: of a training on the whole set.
        halving: whether most architectures get a short training only.
        holdout: share of each class's training images by which architectures are chosen.
        seed: of every random draw.
    """

    proxies: Sequence[str] = ()
    sample: int | None = None
    epochs: int = 200
    whole_epochs: int = 100
    halving: bool = False
    holdout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.holdout < 1:
            raise ConfigError(f"holdout must be a share between 0 and 1, got {self.holdout}")
        if self.seed < 0 or self.epochs < 1 or self.whole_epochs < 1:
            raise ConfigError("seed must be at least 0, epochs and whole_epochs at least 1")


def search_architectures(
    runs: Sequence[DistilledDataset],
    dataset: ImageDataset,
    space: Space,
    settings: SearchSettings | None = None,
    *,
    out: str | Path = "runs/search",
    workers: Callable[[SearchData], Workers] = InProcess,
    show_progress: bool = True,
) -> Search:
    """Rank architectures on small proxies of a data set, and find out what each ranking is worth.

    Args:
        runs: distilled sets, one or more; each is a proxy by the name of its method.
        dataset: what they were distilled from.
        space: architectures, e.g. `convnets_720()`, or ones with builders of your own. Those that do not fit the images
            are told and left out.
        settings: proxies, sample, lengths and seed.
        out: folder; finished trials in it are not run again, and the tables are written there.
        workers: who runs the trials, by default this process; `lambda data: OnRay(data, RaySettings())` is Ray.
        show_progress: draw a bar.

    Returns:
        The search: `verdicts()` judges the proxies, `outcomes` has every trial.

    Raises:
        AtomError: runs, images and settings do not go together, or no trial came to an end; the message says what to
            do.
        InterruptedRunError: Ctrl-C; finished trials are kept.
    """
    settings = settings or SearchSettings()
    named = name_runs(runs)
    names = proxy_names(settings.proxies, named)
    chosen, unfit = candidates_for(space, dataset, settings)
    data = search_data(dataset, named, holdout=settings.holdout, seed=settings.seed)
    plan = _plan(chosen, names, data, settings, {tuple(run.per_class.tolist()) for run in named.values()})
    if unfit:
        note(f"{len(unfit)} architectures do not fit the images and are left out (--dry-run lists them)")
    _make_folder(Path(out))
    staff = workers(data)
    store = TrialStore(Path(out) / "trials", cache_root() / "search", f"{data.identity} on {staff.device}")
    search = Search(plan, staff, store, unfit, show_progress, place=staff.description)
    try:
        search.run()
    except KeyboardInterrupt:
        kept = sum(outcome.failure is None for outcome in search.outcomes)
        raise InterruptedRunError(f"stopped; {kept} finished trials are kept. To go on: the same command") from None
    finally:
        staff.close()
        if search.outcomes:
            write_report(Path(out), plan, search.outcomes, unfit, search.place)
    failures = [outcome.failure for outcome in search.outcomes if outcome.failure is not None]
    if len(failures) == len(search.outcomes):
        raise AtomError(f"all {len(failures)} trials failed; the first: {failures[0]}")
    return search


def _make_folder(out: Path) -> None:
    """Make sure that results can be kept, before there are any."""
    try:
        (out / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out} cannot hold the search ({error.strerror}); give another folder with --out") from None


def candidates_for(
    space: Space, dataset: ImageDataset, settings: SearchSettings
) -> tuple[list[Candidate], list[Unfit]]:
    """Draw the architectures to try from those that fit the images; the others are given with their reasons.

    Raises:
        ConfigError: none fits, there are fewer than the sample, or one is there twice.
        UnknownNameError, MissingExtraError: one is not known, or not installed.
    """
    fit, unfit = fitting(distinct(space, "the space"), dataset.image_shape, dataset.num_classes)
    if not fit:
        raise ConfigError(f"no architecture fits the images; the first says: {unfit[0].reason}")
    return sample(fit, settings.sample, settings.seed), unfit


def name_runs(runs: Sequence[DistilledDataset]) -> dict[str, DistilledDataset]:
    """Call each run by its method; a second one of a method has its folder's name with it.

    Raises:
        ConfigError: there is none, or two have the same name, or one has that of another proxy.
    """
    if not runs:
        raise ConfigError("give one or more distilled runs; `atom distill` makes them")
    named: dict[str, DistilledDataset] = {}
    for run in runs:
        name = str(run.settings.get("method", "imported"))
        if name in ("whole", "early-stop"):
            raise ConfigError(f"a run's method is called {name}, as another proxy is; import it under another --method")
        if run.folder is not None and any(other.folder == run.folder for other in named.values()):
            raise ConfigError(f"the run {run.folder} is given twice; give each once")
        name = f"{name}:{run.folder.name}" if name in named and run.folder is not None else name
        if name in named:
            raise ConfigError(f"two runs are called {name}; give each once, in a folder of another name")
        named[name] = run
    return named


def proxy_names(wanted: Sequence[str], runs: dict[str, DistilledDataset]) -> list[str]:
    """Give the proxies of a search by name, all there are where none is named.

    Raises:
        ConfigError: one is not known.
    """
    known = list(dict.fromkeys(["random", *runs, "early-stop", "whole"]))
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"there is no proxy {name!r}: known are {', '.join(known)}; "
                "a method's needs a run of it (atom distill ... --method NAME) among the folders"
            )
    return list(dict.fromkeys(wanted or known))


def _plan(
    candidates: Sequence[Candidate],
    names: Sequence[str],
    data: SearchData,
    settings: SearchSettings,
    sizes: set[tuple[int, ...]],
) -> Plan:
    protocol, whole = PROTOCOLS.get("search"), whole_proxy(data)
    lengths = halving_epochs(settings.epochs) if settings.halving else [settings.epochs]

    def proxy(name: str) -> Proxy:
        if name in data.distilled:
            return distilled_proxy(name, data)
        if name == "whole":
            return whole
        if len(sizes) > 1:
            several = " and ".join(str(count) for count in sorted(map(sum, sizes)))
            raise ConfigError(
                f"the runs have {several} images, and {name} is to be as large as they: give runs of one size"
            )
        random = random_proxy(next(iter(sizes)), data)
        updates = settings.epochs * -(-random.images // protocol.batch_size)
        return random if name == "random" else early_stop_proxy(updates, data)

    return Plan(
        candidates=candidates,
        proxies=[proxy(name) for name in names],
        whole=whole,
        protocols=[protocol.changed(epochs=length) for length in lengths],
        whole_protocol=protocol.changed(epochs=settings.whole_epochs),
        seed=settings.seed,
    )
