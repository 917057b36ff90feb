"""A search under way: finished trials are found, the others run, and each is kept at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from atom_distill.base.progress import Progress, note
from atom_distill.search.plan import Plan, going_on
from atom_distill.search.space import Candidate, Unfit
from atom_distill.search.store import TrialStore
from atom_distill.search.trial import Outcome, Trial
from atom_distill.search.verdict import Verdict, standings, verdicts
from atom_distill.search.workers import Workers


@dataclass
class Search:
    """A search and what it has found so far.

    Attributes:
        plan: what to do.
        workers: who does it.
        store: where finished trials are kept.
        unfit: architectures that do not fit the images.
        show_progress: draw a bar.
        place: who runs the trials, for people.
        outcomes: of all trials so far, failures included.
    """

    plan: Plan
    workers: Workers
    store: TrialStore
    unfit: Sequence[Unfit] = ()
    show_progress: bool = True
    place: str = ""
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self) -> None:
        """Run all trials that are not finished yet."""
        standing = {proxy.name: list(self.plan.candidates) for proxy in self.plan.proxies}
        for rung in range(max(len(self.plan.rungs(proxy)) for proxy in self.plan.proxies)):
            label = f"search, rung {rung + 1} of {len(self.plan.protocols)}" if self.plan.halves else "search"
            found = self._run(self.plan.trials(rung, standing), label)
            for name, candidates in standing.items():
                standing[name] = _leaders([one for one in found if one.proxy == name], candidates)
        if not self.plan.knows_truth:
            self._train_the_chosen()

    def verdicts(self) -> list[Verdict]:
        """Judge each proxy by what is known so far."""
        return verdicts(self.plan, self.outcomes)

    def _train_the_chosen(self) -> None:
        """Train what each proxy ranks first on the whole set, which is what a search is for."""
        first = {ranked[0].architecture for ranked in standings(self.plan, self.outcomes).values() if ranked}
        chosen = [candidate for candidate in self.plan.candidates if candidate.name in first]
        whole = [Trial(one, self.plan.whole, self.plan.whole_protocol, self.plan.seed) for one in chosen]
        self._run(whole, "train the chosen")

    def _run(self, trials: Sequence[Trial], label: str) -> list[Outcome]:
        """Give the outcomes of trials: the kept ones, and the others as they are finished."""
        kept = [(trial, self.store.find(trial)) for trial in trials]
        found = [outcome for _, outcome in kept if outcome is not None]
        missing = [trial for trial, outcome in kept if outcome is None]
        if found:
            note(f"{len(found)} of {len(trials)} trials were finished before")
        self.outcomes += found
        best: dict[str, float] = {}
        bar = Progress(label, total=len(trials), done=len(found), unit="trials", enabled=self.show_progress)
        with bar, closing(self.workers.run(missing)) as running:
            for trial, outcome in running:
                self.store.keep(trial, outcome)
                found.append(outcome)
                self.outcomes.append(outcome)
                if outcome.failure is not None:
                    note(f"{outcome.architecture} on {outcome.proxy} failed: {outcome.failure}")
                if outcome.accuracy is not None:
                    best[outcome.proxy] = max(outcome.accuracy, best.get(outcome.proxy, 0.0))
                bar.advance(best=", ".join(f"{name} {accuracy:.1f} %" for name, accuracy in best.items()))
        return found


def _leaders(outcomes: Sequence[Outcome], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Give the candidates of a rung that go on to the next."""
    ranked = sorted((-one.accuracy, one.architecture) for one in outcomes if one.accuracy is not None)
    on = {name for _, name in ranked[: going_on(len(candidates))]}
    return [candidate for candidate in candidates if candidate.name in on]
