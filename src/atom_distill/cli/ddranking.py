"""`atom evaluate --ddranking`: its options and how its result is shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from atom_distill.base.errors import ConfigError
from atom_distill.cli.options import Flag, shown
from atom_distill.cli.output import print_json, print_table

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.data.dataset import ImageDataset
    from atom_distill.evaluation.ranking import Ranking, RankingPlan


class RankingOptions(BaseModel):
    """Scores of the DD-Ranking benchmark: HLR, IOR, LRS and ARS."""

    ddranking: Flag = Field(
        default=False,
        description="Score the run as DD-Ranking does: against random images and the whole set, with and without DSA.",
    )
    whole_accuracy: Annotated[float | None, shown("train on the whole set")] = Field(
        default=None, description="Known accuracy of training on the whole set, for --ddranking (percent)."
    )
    whole_epochs: Annotated[int | None, shown("the protocol's")] = Field(
        default=None, description="Passes over the whole set, for --ddranking (epochs)."
    )

    def check(self, *, run_only: bool) -> None:
        """Refuse what excludes each other or would be ignored.

        Args:
            run_only: neither --random nor --whole is given.
        """
        whole_given = self.whole_accuracy is not None or self.whole_epochs is not None
        if whole_given and not self.ddranking:
            raise ConfigError("--whole-accuracy and --whole-epochs are for --ddranking")
        if self.whole_accuracy is not None and self.whole_epochs is not None:
            raise ConfigError("--whole-accuracy and --whole-epochs exclude each other; give one")
        if self.whole_epochs is not None and self.whole_epochs < 1:
            raise ConfigError(f"--whole-epochs must be at least 1, got {self.whole_epochs}")
        if self.ddranking and not run_only:
            raise ConfigError(
                "--ddranking trains on random images and the whole set itself; give no --random or --whole"
            )


def rank(plans: Sequence[RankingPlan], distilled: DistilledDataset, dataset: ImageDataset, *, as_json: bool) -> None:
    """Rank a set by each plan, keep the results in its folder if it has one, and print them."""
    from atom_distill.evaluation.ranking import add_ranking, load_rankings

    if distilled.folder is not None:
        load_rankings(distilled.folder)  # a damaged file shows before the hours of training, not after them
    rankings = []
    for plan in plans:
        rankings.append(plan.rank(distilled, dataset))
        if distilled.folder is not None:
            plan.augmented.ranks.broadcast_from_rank0(partial(add_ranking, distilled.folder, rankings[-1]))
    _print(rankings, as_json=as_json)


def _print(rankings: Sequence[Ranking], *, as_json: bool) -> None:
    if as_json:
        results = [ranking.model_dump(mode="json") for ranking in rankings]
        print_json(results[0] if len(results) == 1 else {"rankings": results})
        return
    for ranking in rankings:
        of, images = ranking.references, "budget" if ranking.ipc is None else f"ipc {ranking.ipc}"
        images += f", {ranking.form}" if ranking.form else ""
        trained = (
            (f"distilled, {images}", of.distilled),
            (f"random, {images}", of.random),
            (f"distilled, {images}", of.distilled_plain),
            (f"random, {images}", of.random_plain),
            ("whole", of.whole),
        )
        print_table(
            f"test accuracy on {ranking.dataset}, percent; {ranking.arch}",
            ["trained on", "protocol", "mean +- std"],
            [[subject, reference.protocol or "given", reference.summary] for subject, reference in trained],
        )
        print_table(
            f"DD-Ranking, hard labels; lambda {ranking.lrs_weight}, gamma {ranking.ars_weight}",
            ["score", "mean +- std", ""],
            [
                ["HLR", ranking.hlr.summary, "below the whole set, points (less is better)"],
                ["IOR", ranking.ior.summary, "above random images, points (more is better)"],
                ["LRS", ranking.lrs.summary, "of both, percent (26.9 where both are 0)"],
                ["ARS", ranking.ars.summary, "of IOR with and without augmentation, percent (26.9 where both are 0)"],
            ],
        )
