"""Protocols carry what was changed in their names, so that their scores stay apart."""

from __future__ import annotations

import pytest

from atom_distill.base.errors import AtomError, ConfigError, UnknownNameError
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol, protocol_of
from atom_distill.training.schedules import SCHEDULES

DM = PROTOCOLS.get("dm")


def test_dm_is_what_the_field_does():
    assert (DM.epochs, DM.lr, DM.momentum, DM.weight_decay, DM.drop_at, DM.drop_to) == (1000, 0.01, 0.9, 5e-4, 0.5, 0.1)
    assert DM.operations() == ("color", "crop", "cutout", "flip", "scale", "rotate")


def test_idc_is_what_the_idc_code_does():
    idc = PROTOCOLS.get("idc")
    assert (idc.epochs, idc.batch_size, idc.lr, idc.momentum, idc.weight_decay) == (1000, 64, 0.01, 0.9, 5e-4)
    assert (idc.schedule, idc.drop_to, idc.cutmix) == ("two-steps", 0.2, 0.5)
    assert idc.augmentations() == [("flip",), ("color",), ("crop", "scale", "rotate")]


def test_vit_is_the_recipe_for_transformers():
    vit, pool = PROTOCOLS.get("vit"), PROTOCOLS.get("pool-vit")
    assert {vit.optimizer, pool.optimizer} == {"adamw"}
    assert {vit.schedule, pool.schedule} == {"cosine"}
    assert (vit.warmup, vit.cutmix) == (0.1, 0.5)
    assert vit.augmentations() == [("flip",), ("color",), ("crop", "cutout", "scale", "rotate")]
    others = [PROTOCOLS.get(name) for name in PROTOCOLS if name not in ("vit", "pool-vit")]
    assert {(other.optimizer, other.warmup) for other in others} == {("sgd", 0.0)}


def test_augmentations_in_order():
    assert DM.augmentations() == [DM.operations()]
    assert DM.changed(augment="none").augmentations() == []
    assert DM.changed(augment="none", augment_always="crop").augmentations() == [("crop",)]
    with pytest.raises(ConfigError, match="`augment_always`: unknown operation 'blur'"):
        DM.changed(augment_always="blur")


def test_quick_takes_a_fifth_and_its_learning_rates_sum_to_those_of_dm():
    quick = PROTOCOLS.get("quick")
    assert 5 * quick.epochs == DM.epochs
    assert quick.batch_size == DM.batch_size
    summed = [
        sum(told.lr * SCHEDULES.get(told.schedule)(epoch, told) for epoch in range(told.epochs)) for told in (quick, DM)
    ]
    assert summed == pytest.approx([5.0, 5.5], rel=0.02)


@pytest.mark.parametrize(
    ("protocol", "pictures", "epochs", "name"),
    [
        (DM, 4, 250, "dm(same-compute,epochs=250)"),
        (DM, 14, 71, "dm(same-compute,epochs=71)"),
        (DM.changed(epochs=3), 4, 1, "dm(epochs=3)(same-compute,epochs=1)"),
        (DM, 1, 1000, "dm"),
    ],
)
def test_same_compute_divides_the_epochs_and_says_so(protocol, pictures, epochs, name):
    shorter = protocol.same_compute(pictures)
    assert (shorter.epochs, shorter.name) == (epochs, name)
    assert shorter.model_copy(update={"name": protocol.name, "epochs": protocol.epochs}) == protocol


def test_protocols_stored_before_there_was_cutmix_are_equal():
    old = {
        **{"name": "dm(epochs=300)", "epochs": 300, "batch_size": 256, "lr": 0.01, "momentum": 0.9},
        **{"weight_decay": 0.0005, "schedule": "step", "drop_at": 0.5, "drop_to": 0.1, "loss": "cross-entropy"},
        **{"temperature": 1.0, "augment": "color_crop_cutout_flip_scale_rotate"},
    }
    assert TrainingProtocol(**old) == DM.changed(epochs=300)


def test_changes_become_part_of_the_name():
    changed = DM.changed(epochs=300, augment="none")
    assert changed.name == "dm(epochs=300,augment=none)"
    assert (changed.epochs, changed.operations(), changed.lr) == (300, (), DM.lr)
    assert DM.name == "dm"


def test_a_change_to_the_same_value_is_none():
    assert DM.changed(epochs=1000) is DM
    assert DM.changed() is DM
    assert DM.changed(epochs=1000, lr=0.1).name == "dm(lr=0.1)"


def test_the_same_protocol_has_one_name():
    assert DM.changed(temperature=2).name == protocol_of("dm(temperature=2)").name == "dm(temperature=2.0)"
    assert DM.changed(lr=0.1).changed(epochs=300) == DM.changed(epochs=300, lr=0.1)
    assert DM.changed(epochs=300).changed(epochs=1000) is DM
    own = TrainingProtocol(name="dm", epochs=5)
    assert own.changed(lr=0.1).name == "dm(lr=0.1)"
    assert own.changed(lr=0.1).epochs == 5
    assert DM.same_compute(4).changed(lr=0.1).name == "dm(same-compute,epochs=250)(lr=0.1)"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 0}, "`epochs` must be greater than or equal to 1, got 0"),
        ({"lr": 0.0, "batch_size": 0}, r"`batch_size` must .*, got 0; `lr` must .*, got 0\.0"),
        ({"augment": "blur"}, "`augment`: unknown operation 'blur'"),
    ],
)
def test_values_out_of_range_are_refused(changes, told):
    with pytest.raises(ConfigError, match=told):
        DM.changed(**changes)


def test_an_unknown_value_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown setting 'epoch'. Did you mean 'epochs'"):
        DM.changed(epoch=3)


def test_an_unknown_protocol_is_told():
    with pytest.raises(UnknownNameError, match=r"unknown protocol 'dn'. Did you mean 'dm'"):
        PROTOCOLS.get("dn")


def test_a_protocol_is_frozen_and_refuses_strangers():
    with pytest.raises(ValueError, match="frozen"):
        DM.epochs = 2
    with pytest.raises(ValueError, match="Extra inputs"):
        TrainingProtocol(name="x", epoch=3)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("quick", {"drop_at": 0.4}),
        ("idc", {"drop_at": 0.4}),
        ("dm", {"schedule": "cosine", "drop_to": 0.2}),
        ("dm", {"schedule": "constant", "drop_to": 0.2}),
    ],
)
def test_what_the_schedule_does_not_read_is_refused(name, changes):
    with pytest.raises(ConfigError, match=r"`drop_\w+` changes nothing with `schedule` [\w-]+: leave it out"):
        PROTOCOLS.get(name).changed(**changes)


def test_what_the_schedule_reads_is_taken():
    assert PROTOCOLS.get("idc").changed(drop_to=0.3).drop_to == 0.3
    assert PROTOCOLS.get("idc").changed(schedule="step", drop_at=0.4).drop_at == 0.4


def test_a_protocol_is_found_by_the_name_that_scores_have():
    changed = DM.changed(lr=0.003, epochs=300)
    assert protocol_of("dm") == DM
    assert protocol_of(changed.name) == changed
    assert protocol_of("dm(augment=none)") == DM.changed(augment="none")
    assert protocol_of("dm( lr=0.003, epochs = 300 )") == changed
    with pytest.raises(ConfigError, match="gives a value twice"):
        protocol_of("dm(lr=0.02,lr=0.03)")
    assert protocol_of("dm(lr=0.003)", epochs=300) == DM.changed(epochs=300, lr=0.003)
    assert protocol_of("dm(epochs=300)", epochs=5) == DM.changed(epochs=300)
    for wrong, told in {"dn": "unknown protocol 'dn'", "dm(lr=x)": "`lr`", "dm(rl=1)": "unknown setting 'rl'"}.items():
        with pytest.raises(AtomError, match=told):
            protocol_of(wrong)
