"""Protocols carry what was changed in their names, so that their scores stay apart."""

from __future__ import annotations

import pytest

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol

DM = PROTOCOLS.get("dm")


def test_dm_is_what_the_field_does():
    assert (DM.epochs, DM.lr, DM.momentum, DM.weight_decay, DM.drop_at, DM.drop_to) == (1000, 0.01, 0.9, 5e-4, 0.5, 0.1)
    assert DM.operations() == ("color", "crop", "cutout", "flip", "scale", "rotate")


def test_changes_become_part_of_the_name():
    changed = DM.changed(epochs=300, augment="none")
    assert changed.name == "dm(epochs=300,augment=none)"
    assert (changed.epochs, changed.operations(), changed.lr) == (300, (), DM.lr)
    assert DM.name == "dm"


def test_a_change_to_the_same_value_is_none():
    assert DM.changed(epochs=1000) is DM
    assert DM.changed() is DM
    assert DM.changed(epochs=1000, lr=0.1).name == "dm(lr=0.1)"


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
