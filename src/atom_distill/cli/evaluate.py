"""`atom evaluate`: train networks from scratch on a distilled set, and test them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import BaseModel, Field

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import Activation, Norm, Pooling
from atom_distill.cli.ddranking import RankingOptions, rank
from atom_distill.cli.options import (
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
from atom_distill.cli.output import print_json, print_table
from atom_distill.cli.runs import MOVED_TO_HELP, RUN_HELP, MovedTo, dataset_of, head_of, load_named, run_folder
from atom_distill.config.distill import Precision, Preprocess
from atom_distill.config.training_protocol import TrainingProtocol

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.artifact.scores import Score
    from atom_distill.data.dataset import ImageDataset
    from atom_distill.evaluation.evaluate import Evaluation, Scoring
    from atom_distill.evaluation.ranking import RankingPlan

_DESCRIPTION = (
    "Train networks from scratch on a distilled set and test them on the real test split. Scores are saved in "
    "the run folder; those of a set that comes with the package are only printed. "
    "For comparison, --random trains on random real images and --whole on all of them; --ddranking "
    "compares the three."
)


class ShapeOptions(BaseModel):
    """Changes to the architecture's defaults."""

    depth: Annotated[int | None, shown("for convnet by the resolution")] = Field(
        default=None, description="Blocks of the networks."
    )
    width: Annotated[int | None, shown("128 for convnet")] = Field(
        default=None, description="Channels per block of the networks."
    )
    norm: Annotated[Norm | None, shown("instance for convnet")] = Field(
        default=None, description="Normalization in the networks."
    )
    activation: Annotated[Activation | None, shown("relu")] = Field(
        default=None, description="Activation in the networks."
    )
    pooling: Annotated[Pooling | None, shown("avg for convnet")] = Field(
        default=None, description="Pooling in the networks."
    )


ProtocolOptions = settings_options(
    TrainingProtocol,
    "Changes to the protocol, which become part of its name; the defaults shown are those of dm.",
    ("name",),
)


class MachineOptions(BaseModel):
    """How to compute on this machine; changes only speed and rounding."""

    device: str = Field(default="auto", description="cpu, cuda, cuda:N, mps, or auto for the best available.")
    precision: Precision = Field(
        default="auto", description="Precision of convolutions, kept with the score; auto: bfloat16 where faster."
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Use of torch.compile; auto: in long evaluations.",
    )
    at_once: int = Field(
        default=0,
        description="Number of networks that train at the same time, on a CPU in worker processes; 0: up to 10 on a "
        "GPU; one on a CPU, or in a long evaluation one per core.",
    )


class EvaluateCommand(CommandOptions):
    """Options of `atom evaluate`."""

    target: tyro.conf.Positional[str] = Field(
        description=f"{RUN_HELP}; or, with --random or --whole, a data set's name or path."
    )
    random: Flag = Field(
        default=False,
        description="Train on random real images, a new draw for each network: as many as the run has, stored in the "
        "same form, unless --ipc or --preprocess is given.",
    )
    whole: Flag = Field(default=False, description="Train on the whole training set.")
    ipc: Annotated[int | None, shown("the run's")] = Field(
        default=None,
        description="Use only the first stored images of each class (in a nested run, a set of that size); with "
        "--random, the number of real images per class.",
    )
    bytes: Annotated[int | None, shown("all")] = Field(
        default=None,
        description="Use only the first stored images of each class, as many as take at most so many bytes per class.",
    )
    preprocess: Annotated[Preprocess | None, shown("the run's, or the papers'")] = Field(
        default=None, description="Preprocessing, for --random and --whole."
    )
    which: Literal["last", "best"] = Field(
        default="last", description="The run's last images, or those that were best on held-out training images."
    )
    dataset: Annotated[str | None, shown("the one distilled")] = Field(
        default=None, description="Another data set to test on: a name or a path."
    )
    moved_to: MovedTo = Field(default=None, description=MOVED_TO_HELP)
    arch: tuple[str, ...] = Field(
        default=("convnet",),
        description="Architectures, one or more: convnet, alexnet, vgg11, resnet18, vit, timm:NAME.",
    )
    repeats: int = Field(default=5, description="Number of networks per architecture.")
    more: Flag = Field(
        default=False,
        description="Keep the networks of an earlier score with the same settings, and train only those missing.",
    )
    seed: int = Field(default=0, description="Seed of every random draw.")
    protocol: str = Field(
        default="dm",
        description="Training protocol: dm (the field's usual one), idc (that of the IDC paper, with CutMix), quick "
        "(ranks sets in a fifth of the time), vit (for transformers, with AdamW) or search; also one with changes, as "
        "scores name it, e.g. 'dm(epochs=300)'.",
    )
    same_compute: Flag = Field(
        default=False,
        description="Divide the epochs by the number of pictures per stored image, since more pictures mean more "
        "updates per epoch.",
    )
    hard_labels: Flag = Field(default=False, description="Train on class numbers even if the set has soft labels.")
    training: ProtocolOptions = group(ProtocolOptions)  # type: ignore[valid-type]
    shape: ShapeOptions = group(ShapeOptions)
    ranking: RankingOptions = group(RankingOptions)
    execution: MachineOptions = group(MachineOptions)
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")
    data: DataOptions = group(DataOptions)


def command(arguments: Sequence[str]) -> None:
    """Run `atom evaluate`."""
    options = parse(EvaluateCommand, command="evaluate", description=_DESCRIPTION, arguments=arguments)
    from atom_distill.evaluation.evaluate import scores_of

    if options.random and options.whole:
        raise ConfigError("--random and --whole exclude each other; give one")
    if not options.arch:
        raise ConfigError("--arch needs at least one architecture, e.g. --arch convnet")
    _refuse_stray_options(options)
    distilled = _run_folder(options)
    if options.moved_to is not None and (distilled is None or options.dataset is not None):
        raise ConfigError("--data is the place of the run's own data set: give it with a run, and without --dataset")
    dataset = _dataset(options, distilled)
    architectures = dict.fromkeys(options.arch)
    if options.ranking.ddranking:
        assert distilled is not None  # `_run_folder` has made sure
        plans = [_ranking_plan(options, arch, dataset) for arch in architectures]
        rank(plans, distilled, dataset, as_json=options.json_output)
        return
    evaluations = [_evaluation(options, arch, dataset) for arch in architectures]
    scored = distilled
    if distilled is not None and not options.random and not (options.ipc is None and options.bytes is None):
        scored = head_of(distilled, options.ipc, options.bytes)
        scored.scores = [score for score in distilled.scores if score.first == scored.first]
    if options.same_compute:
        assert scored is not None  # `_run_folder` has made sure
        evaluations = _at_same_compute(evaluations, scored)
    if scored is not None and options.hard_labels:
        scored = replace(scored, soft_labels=None)
    scores: dict[int, Score] = {}
    for number, score in scores_of([_scoring(options, evaluation, scored, dataset) for evaluation in evaluations]):
        scores[number] = score
        if distilled is not None:
            ranks = evaluations[number].ranks
            distilled.scores = ranks.broadcast_from_rank0(partial(distilled.add_score, score))
    _print([scores[number] for number in sorted(scores)], as_json=options.json_output)


def _refuse_stray_options(options: EvaluateCommand) -> None:
    """Refuse options that would be ignored: a user who gives one expects it to count."""
    if options.ipc is not None and (options.whole or (options.ranking.ddranking and not options.random)):
        raise ConfigError("--ipc is for --random and for the first images of a run: not with --whole, --ddranking")
    if options.bytes is not None and (options.random or options.whole or options.ranking.ddranking):
        raise ConfigError("--bytes is for the first images of a run: not with --random, --whole, --ddranking")
    if options.preprocess is not None and not (options.random or options.whole):
        raise ConfigError("--preprocess is for --random and --whole; a distilled set has its own preprocessing")
    elsewhere = options.random or options.whole or options.ranking.ddranking
    of_run = {"--same-compute": options.same_compute, "--hard-labels": options.hard_labels, "--more": options.more}
    for option, value in of_run.items():
        if value and elsewhere:
            raise ConfigError(f"{option} is for the scores of a distilled set: not with --random, --whole, --ddranking")
    options.ranking.check(run_only=not (options.random or options.whole))


def _run_folder(options: EvaluateCommand) -> DistilledDataset | None:
    """Return the target if it is a run, None where it names a data set."""
    from atom_distill.artifact.folder import holds_run
    from atom_distill.data.sources.named import SOURCES

    if not holds_run(run_folder(options.target)):
        if options.random or options.whole:
            return None
        if options.target in SOURCES:
            raise ConfigError(
                f"{options.target} is a data set: give the folder of a run, or --random --ipc N, or --whole"
            )
    return load_named(options.target, options.which)


def _dataset(options: EvaluateCommand, distilled: DistilledDataset | None) -> ImageDataset:
    if distilled is None:
        return options.data.load(options.dataset or options.target)
    if options.dataset is not None:
        return options.data.load(options.dataset)
    return dataset_of(distilled, options.data, options.moved_to)


def _evaluation(options: EvaluateCommand, arch: str, dataset: ImageDataset, **training: Any) -> Evaluation:
    """Return an evaluation; a wrong name or size is refused here, before the first network is trained.

    Args:
        options: of the command.
        arch: architecture.
        dataset: real images to train or test on.
        training: departures from the training options.
    """
    from atom_distill.base.device import pick_device
    from atom_distill.base.network_shape import NetworkShape
    from atom_distill.config.training_protocol import parsed
    from atom_distill.evaluation.evaluate import Evaluation
    from atom_distill.models.build import build_model
    from atom_distill.processes.ranks import join, require_device_for_each
    from atom_distill.training.training_execution import ExecutionOptions

    ranks, device = join(use_workers=True), pick_device(options.execution.device)
    ranks.run_on_all(lambda: require_device_for_each(device, ranks))
    shape = NetworkShape(**given(options.shape))
    base, of_text = parsed(options.protocol)
    chosen = given(options.training)
    if twice := sorted(of_text.keys() & chosen.keys()):
        raise ConfigError(f"--{twice[0].replace('_', '-')} and {options.protocol} both say it: give one")
    build_model(arch, dataset.image_shape, dataset.num_classes, shape)
    return Evaluation(
        arch=arch,
        shape=shape,
        repeats=options.repeats,
        protocol=base.changed(**{**of_text, **chosen, **training}),
        seed=options.seed,
        device=device,
        ranks=ranks,
        execution=ExecutionOptions(options.execution.precision, options.execution.compile, options.execution.at_once),
    )


def _at_same_compute(evaluations: list[Evaluation], distilled: DistilledDataset) -> list[Evaluation]:
    """Return the evaluations, which have one protocol, with fewer epochs for a set of more pictures than it stores."""
    from atom_distill.evaluation.evaluate import at_same_compute

    protocol = at_same_compute(evaluations[0].protocol, distilled)
    return [replace(evaluation, protocol=protocol) for evaluation in evaluations]


def _ranking_plan(options: EvaluateCommand, arch: str, dataset: ImageDataset) -> RankingPlan:
    from atom_distill.evaluation.ranking import RankingPlan

    accuracy, epochs = options.ranking.whole_accuracy, options.ranking.whole_epochs
    on_whole = {} if epochs is None else {"epochs": epochs}
    return RankingPlan(
        augmented=_evaluation(options, arch, dataset),
        plain=_evaluation(options, arch, dataset, augment="none", augment_always="none", cutmix=0.0),
        whole=_evaluation(options, arch, dataset, **on_whole) if accuracy is None else accuracy,
    )


def _scoring(
    options: EvaluateCommand,
    evaluation: Evaluation,
    distilled: DistilledDataset | None,
    dataset: ImageDataset,
) -> Scoring:
    """Return the score of an architecture in the making."""
    if not (options.random or options.whole):
        assert distilled is not None  # `_run_folder` has made sure
        return evaluation.begin_distilled(distilled, dataset, more=options.more)
    if options.random and distilled is not None and options.ipc is None and options.preprocess is None:
        return evaluation.begin_random_like(distilled, dataset)
    per_class = distilled.per_class if distilled is not None and options.ipc is None else options.ipc
    if options.random and per_class is None:
        raise ConfigError("how many random images per class? Give --ipc N")
    preprocess = options.preprocess or _preprocess(distilled, dataset)
    if options.whole:
        return evaluation.begin_whole(dataset, preprocess)
    assert per_class is not None
    return evaluation.begin_random(dataset, per_class, preprocess)


def _preprocess(distilled: DistilledDataset | None, dataset: ImageDataset) -> str:
    if distilled is not None:
        return distilled.preprocessing.kind
    from atom_distill.config.presets import SetFacts, paper_settings

    facts = SetFacts(dataset.image_shape, dataset.num_classes, len(dataset.train))
    return str(paper_settings(facts, ipc=1)["preprocess"])


def _print(scores: list[Score], *, as_json: bool) -> None:
    if as_json:
        results = [_as_json(score) for score in scores]
        print_json(results[0] if len(results) == 1 else {"scores": results})
        return
    rows = [
        [
            ", ".join([f"{score.subject} {score.images} images", *([score.form] if score.form else [])]),
            score.network,
            score.summary,
            ", ".join(f"{run:.1f}" for run in score.runs),
        ]
        for score in scores
    ]
    title = f"test accuracy on {scores[0].dataset}, percent; protocol {scores[0].protocol.name}"
    mean = "mean +- std, soft labels" if scores[0].labels == "soft" else "mean +- std"
    print_table(title, ["trained on", "network", mean, "each"], rows)


def _as_json(score: Score) -> dict[str, Any]:
    content = score.model_dump(mode="json")
    return {**content, "protocol": score.protocol.name, "protocol_settings": content["protocol"]}
