"""Loading some classes of a set."""

from __future__ import annotations

import pytest
import torch

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.data.load import load_dataset


def test_named_classes_are_kept_in_their_order():
    whole = load_dataset("digits")
    part = load_dataset("digits", classes=("7", "2"))
    assert part.class_names == ("7", "2")
    for old, new in ((7, 0), (2, 1)):
        for split in ("train", "test"):
            ours, theirs = getattr(part, split), getattr(whole, split)
            assert torch.equal(ours.images[ours.labels == new], theirs.images[theirs.labels == old])
    assert part.fingerprint != whole.fingerprint
    assert load_dataset(**part.request).fingerprint == part.fingerprint
    assert load_dataset("digits", classes=("2", "7")).fingerprint != part.fingerprint


def test_a_number_means_the_first():
    assert load_dataset("digits", classes=3).class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("classes", "error", "told"),
    [
        (1, ConfigError, "`classes=1` is out of range"),
        (11, ConfigError, "digits has 10"),
        (("1", "1"), ConfigError, "names a class twice"),
        (("1", "eleven"), UnknownNameError, "unknown class 'eleven'"),
        (("1",), ConfigError, "names fewer than 2 classes"),
        ("12", ConfigError, "a number or a list of names, not '12'"),
        (True, ConfigError, "a number or a list of names, not True"),
        (2.0, ConfigError, "a number or a list of names, not 2.0"),
        (("1", 2), UnknownNameError, "unknown class '2'"),
    ],
)
def test_wrong_classes_are_refused(classes, error, told):
    with pytest.raises(error, match=told):
        load_dataset("digits", classes=classes)
