"""Running a search: distilled runs, real images and architectures become trials; each is kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.cache_folder import cache_root, writable
from atom_distill.base.errors import ArtifactError, AtomError, ConfigError, InterruptedRunError
from atom_distill.base.files import read_json_as, write_json
from atom_distill.base.progress import Progress, note
from atom_distill.base.writable import require_writable
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.dataset import ImageDataset
from atom_distill.search.proxies import (
    SearchData,
    make_proxy,
    make_search_data,
    name_runs,
    proxy_names,
    whole_proxy,
)
from atom_distill.search.search_report import REPORT_FILES, write_report
from atom_distill.search.search_result import SearchResult
from atom_distill.search.space import Candidate, Space, choose_candidates
from atom_distill.search.trials import Outcome, Plan, Trial, halving_epochs, promoted
from atom_distill.search.workers import InProcess, Workers

_OUTCOME = TypeAdapter(Outcome)


@dataclass(frozen=True)
class SearchSettings:
    """Settings of an architecture search.

    Attributes:
        proxies: names of the proxies to train on; empty for all.
        sample: number of architectures drawn from those that fit the images; None for all.
        epochs: epochs of training on distilled or random images; early stopping gets as many updates.
        whole_epochs: epochs of training on the whole set.
        halving: whether to train only the most promising architectures at full length (successive halving).
        holdout: share of each class's training images to hold out; the accuracy on them ranks architectures.
        seed: seed of every random draw.

    Raises:
        ConfigError: a value is out of range.
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
            raise ConfigError(f"holdout must be between 0 and 1, got {self.holdout}")
        for name, least in {"seed": 0, "epochs": 1, "whole_epochs": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")


def search_architectures(
    runs: Sequence[DistilledDataset],
    dataset: ImageDataset,
    space: Space,
    settings: SearchSettings | None = None,
    *,
    out: str | Path = "runs/search",
    workers: Callable[[SearchData], Workers] = InProcess,
    show_progress: bool = True,
) -> SearchResult:
    """Rank architectures on small proxies of a data set, and measure how good each ranking is.

    Args:
        runs: distilled sets, one or more; each is a proxy named by its method.
        dataset: the data set that they were distilled from.
        space: architectures, e.g. `convnets_720()`, or ones with custom builders. Those that do not fit the images
            are reported and left out.
        settings: proxies, sample, epochs and seed.
        out: folder for the tables and for finished trials, which are not run again.
        workers: function that returns what runs the trials: by default this process, or Ray with
            `lambda data: OnRay(data, RaySettings())`.
        show_progress: draw a progress bar.

    Returns:
        The result: `proxy_qualities()` compares the proxies, `outcomes` has every trial.

    Raises:
        AtomError: runs, images and settings do not fit together, or every trial failed; the message says what to do.
        InterruptedRunError: Ctrl-C; finished trials are kept.
    """
    settings, folder = settings or SearchSettings(), Path(out)
    require_writable(folder / "trials", "out")
    _refuse_foreign_files(folder)
    named = name_runs(runs)
    names = proxy_names(settings.proxies, named)
    candidates, unfit = choose_candidates(
        space, dataset.image_shape, dataset.num_classes, sample=settings.sample, seed=settings.seed
    )
    data = make_search_data(dataset, named, holdout=settings.holdout, seed=settings.seed)
    plan = _make_plan(candidates, names, data, settings)
    if unfit:
        note(f"architectures that do not fit the images and are left out: {len(unfit)}")
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    pool = workers(data)
    result = SearchResult(plan, unfit, pool.description)
    store = TrialStore(folder / "trials", cache_root() / "search", f"{data.identity} on {pool.device}")
    try:
        Search(result, pool, store, show_progress).run()
    except KeyboardInterrupt:
        kept = sum(outcome.failure is None for outcome in result.outcomes)
        raise InterruptedRunError(
            f"stopped; {kept} finished trials are kept. Run the same search again to continue"
        ) from None
    finally:
        pool.close()
        if result.outcomes:
            write_report(folder, result)
    failures = [outcome.failure for outcome in result.outcomes if outcome.failure is not None]
    if len(failures) == len(result.outcomes):
        raise AtomError(f"all {len(failures)} trials failed; the first: {failures[0]}")
    return result


def _refuse_foreign_files(folder: Path) -> None:
    """Refuse to write over files that no earlier search has written."""
    foreign = [folder / name for name in REPORT_FILES if (folder / name).exists()]
    if foreign and not (folder / "trials").is_dir():
        raise ArtifactError(f"{foreign[0]} is not of a search that was begun here; move it away, or give another `out`")


def _make_plan(
    candidates: Sequence[Candidate], names: Sequence[str], data: SearchData, settings: SearchSettings
) -> Plan:
    protocol, epochs = PROTOCOLS.get("search"), settings.epochs
    return Plan(
        candidates=candidates,
        proxies=[make_proxy(name, data, epochs=epochs, batch_size=protocol.batch_size) for name in names],
        whole=whole_proxy(data),
        protocols=[
            protocol.changed(epochs=rung) for rung in (halving_epochs(epochs) if settings.halving else [epochs])
        ],
        whole_protocol=protocol.changed(epochs=settings.whole_epochs),
        seed=settings.seed,
    )


class TrialStore:
    """Finished trials on disk, one file each, so that a stopped search continues.

    Outcomes on the whole set, which take longest, are shared by all searches on this machine, unless the network is
    the user's own code, which may change. Failures are not stored: the next search tries them again.

    Args:
        folder: of this search.
        shared: of all searches.
        environment: what the trials depend on besides themselves: images, and the kind of device.
    """

    def __init__(self, folder: Path, shared: Path, environment: str) -> None:
        self._folder, self._shared, self._environment = folder, shared, environment

    def load(self, trial: Trial) -> Outcome | None:
        """Return the outcome of a trial, whatever its proxy was called then; None if it has to be run."""
        path = self._path(trial)
        if not path.exists():
            return None
        try:
            found = read_json_as(_OUTCOME, path, advice="search again")
        except ArtifactError as error:
            note(f"{error}; running that trial again")
            return None
        if (found.architecture, found.protocol) != (trial.candidate.name, trial.protocol):
            note(f"{path} holds a trial that does not match its name; running that trial again")
            return None
        return found.model_copy(update={"proxy": trial.proxy.name})

    def save(self, trial: Trial, outcome: Outcome) -> None:
        """Write the outcome of a trial, unless it failed."""
        if outcome.failure is None:
            write_json(writable(self._path(trial)), outcome.model_dump(mode="json"))

    def _path(self, trial: Trial) -> Path:
        is_shared = trial.proxy.kind == "whole" and trial.candidate.builder is None
        path = (self._shared if is_shared else self._folder) / f"{trial.key(self._environment)}.json"
        return path if path.exists() else writable(path)


@dataclass
class Search:
    """A search in progress.

    Attributes:
        result: the plan, and the outcomes as they come.
        workers: runs the trials.
        store: has the finished ones.
        show_progress: draw a bar.
    """

    result: SearchResult
    workers: Workers
    store: TrialStore
    show_progress: bool = True

    def run(self) -> SearchResult:
        """Run all trials that are not finished yet, and return the result."""
        plan = self.result.plan
        remaining = {proxy.name: list(plan.candidates) for proxy in plan.proxies}
        for rung in range(max(len(plan.rungs(proxy)) for proxy in plan.proxies)):
            label = f"search, rung {rung + 1} of {len(plan.protocols)}" if plan.has_halving else "search"
            found = self._run(plan.trials(rung, remaining), label)
            for name, candidates in remaining.items():
                remaining[name] = promoted([one for one in found if one.proxy == name], candidates)
        if not plan.trains_all_on_whole:
            self._train_chosen_on_whole()
        self.result.finished = True
        return self.result

    def _train_chosen_on_whole(self) -> None:
        plan = self.result.plan
        chosen = {quality.chosen for quality in self.result.proxy_qualities()}
        candidates = [candidate for candidate in plan.candidates if candidate.name in chosen]
        self._run([Trial(one, plan.whole, plan.whole_protocol, plan.seed) for one in candidates], "train the chosen")

    def _run(self, trials: Sequence[Trial], label: str) -> list[Outcome]:
        """Return the outcomes of trials: those in the store first, the others as they finish."""
        stored = [(trial, self.store.load(trial)) for trial in trials]
        found = [outcome for _, outcome in stored if outcome is not None]
        missing = [trial for trial, outcome in stored if outcome is None]
        if found:
            note(f"{len(found)} of {len(trials)} trials were finished before")
        self.result.outcomes += found
        best: dict[str, float] = {}
        for outcome in found:
            _raise_best(best, outcome)
        bar = Progress(label, total=len(trials), done=len(found), unit="trials", enabled=self.show_progress)
        with bar, closing(self.workers.run(missing)) as running:
            for trial, outcome in running:
                self.store.save(trial, outcome)
                found.append(outcome)
                self.result.outcomes.append(outcome)
                if outcome.failure is not None:
                    note(f"{outcome.architecture} on {outcome.proxy} failed: {outcome.failure}")
                _raise_best(best, outcome)
                bar.advance(best=", ".join(f"{name} {accuracy:.1f} %" for name, accuracy in best.items()))
        return found


def _raise_best(best: dict[str, float], outcome: Outcome) -> None:
    """Count an outcome among those whose highest accuracy is kept by proxy."""
    if outcome.accuracy is not None:
        best[outcome.proxy] = max(outcome.accuracy, best.get(outcome.proxy, 0.0))
