"""The papers' settings by resolution and ipc, and how wrong settings are told."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.config.distill import DistillConfig, Preset, stored_form, stored_form_title
from atom_distill.config.presets import PRESETS, SetFacts
from atom_distill.distillation.matching_methods import AttentionSettings
from atom_distill.distillation.methods import METHODS
from atom_distill.distillation.resolve import resolve

CIFAR10 = SetFacts((3, 32, 32), 10, 50_000)
TINY_IMAGENET = SetFacts((3, 64, 64), 200, 100_000)
DIGITS = SetFacts((1, 8, 8), 10, 1438)


@pytest.mark.parametrize(
    ("facts", "ipc", "want"),
    [
        (CIFAR10, 1, {"image_lr": 1.0, "task_balance": 0.01, "preprocess": "zca"}),
        (CIFAR10, 50, {"image_lr": 1.0, "task_balance": 0.01, "preprocess": "zca"}),
        (CIFAR10, 51, {"image_lr": 10.0, "task_balance": 0.01, "preprocess": "zca"}),
        (TINY_IMAGENET, 10, {"image_lr": 1.0, "task_balance": 0.02, "preprocess": "normalize"}),
        (TINY_IMAGENET, 100, {"image_lr": 10.0, "task_balance": 0.02, "preprocess": "normalize"}),
        (DIGITS, 1, {"image_lr": 1.0, "task_balance": 0.01, "preprocess": "normalize"}),
        pytest.param(
            SetFacts((3, 32, 32), 2, 3071),
            1,
            {"image_lr": 1.0, "task_balance": 0.01, "preprocess": "normalize"},
            id="too few images for a covariance of 3072 values",
        ),
    ],
)
def test_paper_settings(facts, ipc, want):
    resolved = resolve(facts, {"ipc": ipc})
    settings = {**resolved.general.model_dump(), **resolved.own.model_dump()}
    assert all(resolved.origins[name] == "paper" for name in want)
    assert {name: settings[name] for name in want} == want


def test_the_embedding_of_dm_has_weight_1_at_any_resolution():
    for facts in (CIFAR10, TINY_IMAGENET):
        assert (
            resolve(facts, {"ipc": 1, "method": "dm"}).own.task_balance == 0.01
        )  # which the objective takes 100 times
    assert resolve(TINY_IMAGENET, {"ipc": 1, "method": "datadam"}).own.task_balance == 0.02


def test_the_papers_table_is_the_default():
    config = resolve(CIFAR10, {"ipc": 10}).general
    assert (config.method, config.steps, config.batch_real, config.image_momentum) == ("atom", 8000, 128, 0.5)
    own = resolve(CIFAR10, {"ipc": 10}).own
    assert (own.spatial_power, own.channel_power) == (4.0, 4.0)
    assert (own.spatial, own.channel, own.embedding) == (True, True, True)
    assert (config.init, config.arch) == ("real", "convnet")
    own = (config.depth, config.norm, config.width, config.pooling, config.activation)
    assert own == (None,) * 5  # the architecture's: tests/models/test_convnet.py holds those of ConvNet
    assert config.operations() == ("color", "crop", "cutout", "flip", "scale", "rotate")


@pytest.mark.parametrize("given", [{"bits": 8}, {"parameterization": "tiles-2"}])
def test_it_is_told_where_bytes_come_from_that_nobody_gave(given):
    with pytest.raises(ConfigError, match="the preset best makes bytes of a number of images"):
        resolve(CIFAR10, {"preset": "best", "ipc": 1, **given})
    with pytest.raises(ConfigError, match=r"`bytes` ((?!preset).)*$"):
        resolve(CIFAR10, {"bytes": 3072, **given})


def test_what_is_given_wins_and_its_origin_is_told():
    resolved = resolve(CIFAR10, {"ipc": 100, "image_lr": 3.0, "preprocess": "normalize"})
    assert resolved.general.image_lr == 3.0
    assert resolved.general.preprocess == "normalize"
    origin = resolved.origins
    assert (origin["ipc"], origin["image_lr"], origin["task_balance"], origin["steps"]) == (
        "given",
        "given",
        "paper",
        "default",
    )
    assert set(origin) == {*DistillConfig.model_fields, *AttentionSettings.model_fields}


def test_gradient_matching_has_the_settings_of_its_own_papers():
    dc = resolve(CIFAR10, {"ipc": 1, "method": "dc"}).general
    assert (dc.steps, dc.batch_real, dc.image_lr, dc.augment) == (1000, 256, 0.1, "none")
    dsa = resolve(CIFAR10, {"ipc": 1, "method": "dsa", "steps": 5})
    assert (dsa.general.steps, dsa.general.image_lr, len(dsa.general.operations())) == (5, 0.1, 6)
    assert (dsa.origins["steps"], dsa.origins["image_lr"]) == ("given", "paper")


def test_a_preset_stands_between_the_papers_and_what_is_given():
    fast = resolve(CIFAR10, {"ipc": 1, "preset": "fast", "batch_real": 40})
    assert (fast.general.image_optimizer, fast.general.batch_real, fast.own.task_balance) == ("adam", 40, 0.01)
    assert [fast.origins[name] for name in ("image_optimizer", "batch_real", "task_balance", "steps")] == [
        "preset",
        "given",
        "paper",
        "default",
    ]
    paper = resolve(CIFAR10, {"ipc": 1, "preset": "paper"}).general
    assert paper == resolve(CIFAR10, {"ipc": 1}).general
    assert (paper.image_optimizer, paper.image_average) == ("sgd", 0.0)
    assert (fast.general.image_lr, fast.origins["image_lr"]) == (0.02, "default")
    sgd = resolve(CIFAR10, {"ipc": 1, "preset": "fast", "image_optimizer": "sgd"}).general
    assert (sgd.image_lr, sgd.batch_real) == (1.0, 16)
    with pytest.raises(ConfigError, match="`preset` must be 'paper', 'fast' or 'best', got 'quick'"):
        resolve(CIFAR10, {"ipc": 1, "preset": "quick"})


@pytest.mark.parametrize("size", [{"ipc": 4}, {"budget": 40}, {"bytes": 12288}])
def test_the_best_preset_counts_bytes(size):
    best = resolve(CIFAR10, {**size, "preset": "best"})
    settings, origins = best.general, best.origins
    assert (settings.ipc, settings.budget, settings.bytes) == (None, None, 12288)
    assert origins["bytes"] == ("given" if "bytes" in size else "preset")
    assert (settings.pictures, settings.parameterization, settings.preprocess) == (173, "frequency-24-12", "normalize")
    assert (settings.image_optimizer, settings.batch_synthetic, settings.pool) == ("adam", 40, 1)
    assert {origins[name] for name in ("steps", "pool", "label_weight", "batch_synthetic")} == {"preset"}
    assert resolve(CIFAR10, {**size, "preset": "best", "steps": 7, "pictures": 9}).general.pictures == 9


def test_larger_sizes_have_more_pictures_and_steps_up_to_what_there_is():
    ipcs = (1, 4, 10, 50)
    by_ipc = [resolve(CIFAR10, {"ipc": ipc, "preset": "best"}).general for ipc in ipcs]
    assert [each.pictures for each in by_ipc] == [round(61 * ipc**0.75) for ipc in ipcs]
    assert [each.steps for each in by_ipc] == [280, 640, 1110, 2930]
    assert [each.networks for each in by_ipc] == ["fresh", *["interpolated"] * 3]
    assert [(each.pool, each.pool_epochs) for each in by_ipc] == [(1, 5), (1, 20), (2, 20), (2, 20)]
    many_classes = resolve(SetFacts((3, 32, 32), 100, 50_000), {"ipc": 10, "preset": "best"}).general
    assert (many_classes.pictures, many_classes.batch_synthetic) == (250, 10)
    digits = resolve(DIGITS, {"ipc": 1, "preset": "best"}).general
    assert (digits.bytes, digits.parameterization, digits.pictures) == (64, "frequency-6-3", 9)


def test_the_best_preset_needs_one_size_and_a_method_that_spends_bytes():
    with pytest.raises(ConfigError, match="how many images"):
        resolve(CIFAR10, {"preset": "best", "ipc": 1, "budget": 10})
    with pytest.raises(ConfigError, match="how many images"):
        resolve(CIFAR10, {"preset": "best"})
    dsa = METHODS.get("dsa")
    resolved = resolve(CIFAR10, {"preset": "best", "ipc": 1, "method": "dsa"})
    with pytest.raises(ConfigError, match="and no preset `best`"):
        dsa.check(resolved.general, resolved.own)
    assert resolve(CIFAR10, {"preset": "best", "ipc": 1, "method": "random"}).general.pictures == 61


@pytest.mark.parametrize("preset", ["paper", "best"])
@pytest.mark.parametrize(
    ("name", "value"), [("ipc", 0), ("ipc", -1), ("budget", 0), ("budget", -3), ("bytes", 0), ("bytes", -5)]
)
def test_what_is_no_size_is_refused_under_its_own_name(preset, name, value):
    with pytest.raises(ConfigError, match=f"`{name}` must be greater than or equal to 1, got {value}"):
        resolve(CIFAR10, {"preset": preset, name: value})


def test_no_class_lacks_the_pictures_that_a_size_in_bytes_begins_with():
    for smallest, pictures in ((1, 1), (40, 40), (5000, 61)):
        facts = replace(CIFAR10, smallest_class=smallest)
        assert resolve(facts, {"preset": "best", "ipc": 1}).general.pictures == pictures
        assert resolve(facts, {"bytes": 3072}).general.pictures == pictures


def test_a_preset_that_decides_the_size_counts_for_selections_too(capsys):
    resolve(CIFAR10, {"preset": "best", "ipc": 1, "method": "random"})
    assert capsys.readouterr().err == ""
    resolve(CIFAR10, {"preset": "best", "bytes": 3072, "method": "random"})
    assert "random has no use for preset" in capsys.readouterr().err


def test_every_preset_of_the_settings_exists():
    assert set(PRESETS) == set(get_args(Preset))


def test_adam_alone_gets_a_learning_rate_of_its_own():
    assert resolve(CIFAR10, {"ipc": 100, "image_optimizer": "adam"}).general.image_lr == 0.02
    assert resolve(CIFAR10, {"ipc": 100, "image_optimizer": "adam", "image_lr": 0.5}).general.image_lr == 0.5


@pytest.mark.parametrize(
    ("defaults", "given", "rate"),
    [
        ({"image_optimizer": "adam"}, {}, 0.02),
        ({"image_optimizer": "adam"}, {"image_optimizer": "sgd"}, 1.0),
        ({"image_optimizer": "adam", "image_lr": 0.3}, {}, 0.3),
        ({"image_lr": 5.0}, {}, 5.0),
        ({"image_lr": 5.0}, {"image_optimizer": "adam"}, 0.02),
    ],
)
def test_a_method_that_chooses_adam_gets_it_too(monkeypatch, defaults, given, rate):
    monkeypatch.setitem(METHODS._entries, "own", replace(METHODS.get("dm"), name="own", defaults=defaults))
    assert resolve(CIFAR10, {"ipc": 1, "method": "own", **given}).general.image_lr == rate


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        resolve(CIFAR10, {"ipc": 0, "steps": 0, "image_lr": -1.0, "init": "photo", "augment": "flip_blur"})
    message = str(caught.value)
    assert message.count(";") == 4 + message.count("operation 'blur';")
    for part in (
        "`ipc` must be greater than or equal to 1, got 0",
        "`steps` must be greater than or equal to 1, got 0",
        "`image_lr` must be greater than 0, got -1.0",
        "`init` must be 'real', 'noise' or 'k-means', got 'photo'",
        "`augment`: unknown operation 'blur'",
    ):
        assert part in message
    assert "\n" not in message


def test_a_missing_ipc_is_told():
    with pytest.raises(ConfigError, match=r"how many images\? Give either `ipc`"):
        resolve(CIFAR10, {})


def test_an_unknown_setting_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown setting 'imgae_lr'. Did you mean 'image_lr'"):
        resolve(CIFAR10, {"ipc": 1, "imgae_lr": 1.0})


@pytest.mark.parametrize("value", ["flip", "none", "rotate_color"])
def test_augmentations_by_name(value):
    config = resolve(CIFAR10, {"ipc": 1, "augment": value}).general
    assert config.operations() == (() if value == "none" else tuple(value.split("_")))


@pytest.mark.parametrize("value", ["", "flip_", "none_flip", "Flip", "flip,crop"])
def test_other_augmentations_are_refused(value):
    with pytest.raises(ConfigError, match="unknown operation"):
        resolve(CIFAR10, {"ipc": 1, "augment": value})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, None),
        ({"parameterization": "pixels", "bits": None}, None),
        ({"parameterization": "pixels", "bits": 4}, "pixels of 4 bits"),
        ({"parameterization": "tiles-2"}, "tiles-2"),
        ({"parameterization": "frequency-4-2", "bits": 32}, "frequency-4-2"),
        ({"parameterization": "frequency-4-2", "bits": None}, "frequency-4-2 of 8 bits"),
        ({"parameterization": "frequency-4-2", "bytes": 99}, "frequency-4-2 in 99 bytes a class"),
    ],
)
def test_the_form_of_a_set_in_words(settings, told):
    assert stored_form_title(settings) == told


@pytest.mark.parametrize(
    ("name", "form"), [("12", "12-12-1"), ("12-6", "12-6-1"), ("12-6-3", "12-6-1")], ids=["one", "two", "with a number"]
)
def test_bytes_keep_the_corners(name, form):
    assert stored_form({"parameterization": f"frequency-{name}", "bytes": 99}) == f"frequency-{form}"


def test_settings_are_frozen_and_survive_a_round_trip():
    config = resolve(CIFAR10, {"ipc": 1}).general
    with pytest.raises(ValueError, match="frozen"):
        config.ipc = 2
    assert DistillConfig(**config.model_dump()) == config


@pytest.mark.parametrize("model", [DistillConfig, *(METHODS.get(name).settings_model for name in METHODS)])
def test_every_setting_is_described(model):
    for name, info in model.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name


def test_settings_of_the_method_are_checked_with_the_others():
    with pytest.raises(ConfigError) as caught:
        resolve(CIFAR10, {"ipc": 0, "spatial_power": 0.5})
    assert "`ipc` must be" in str(caught.value)
    assert "`spatial_power` must be" in str(caught.value)


def test_no_setting_has_two_meanings():
    own = {name for method in METHODS for name in METHODS.get(method).settings_model.model_fields}
    assert not own & DistillConfig.model_fields.keys()
