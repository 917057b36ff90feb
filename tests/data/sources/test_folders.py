from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from atom_distill.base.cache_folder import cache_root
from atom_distill.base.errors import ConfigError, DataError, UnreadableImageError
from atom_distill.data.contact_sheet import contact_sheet
from atom_distill.data.load import load_dataset


def test_class_folders_give_known_pixels_in_sorted_order(class_folders):
    dataset = load_dataset(class_folders)
    assert (dataset.name, dataset.class_names) == ("pets", ("a", "b"))
    assert dataset.image_shape == (3, 8, 8)
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4
    assert dataset.train.images[:4, 0, 3, 3].tolist() == [200, 201, 202, 203]
    assert dataset.train.images[4:, 2, 3, 3].tolist() == [100, 101, 102, 103]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.source == str(class_folders)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_other_names_of_the_test_split(class_folders, name):
    (class_folders / "test").rename(class_folders / name)
    assert len(load_dataset(class_folders).test) == 4


def test_test_wins_over_val(class_folders, save_image):
    for label in "ab":
        save_image(class_folders / "val" / label / "0.png")
    assert len(load_dataset(class_folders).test) == 4


def test_hidden_and_other_files_are_ignored(class_folders, save_image):
    (class_folders / "train" / "a" / "notes.txt").write_text("no image")
    (class_folders / "train" / "a" / ".hidden.png").write_text("no image")
    save_image(class_folders / "train" / ".trash" / "0.png")
    dataset = load_dataset(class_folders)
    assert dataset.num_classes == 2
    assert len(dataset.train) == 8


def test_every_kind_of_image_in_three_sizes(tmp_path, save_image):
    root = tmp_path / "mixed"
    save_image(root / "train/a/gray.png", "L", (8, 8), 100)
    save_image(root / "train/a/photo.jpg", "RGB", (12, 9), (10, 200, 30))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 9, 80, 200])
    palette.save(save_image(root / "train/b/palette.png"))
    save_image(root / "train/b/sixteen.png", "I;16", (10, 16), 65535)
    save_image(root / "test/a/clear.png", "RGBA", (8, 8), (255, 0, 0, 0))
    save_image(root / "test/a/half.png", "LA", (8, 8), (0, 128))
    save_image(root / "test/b/cmyk.jpg", "CMYK", (8, 8), (0, 255, 255, 0))
    save_image(root / "test/b/bits.png", "1", (8, 8), 1)
    dataset = load_dataset(root, image_size=8)
    assert dataset.image_shape == (3, 8, 8)
    middle = {split: getattr(dataset, split).images[:, :, 4, 4].tolist() for split in ("train", "test")}
    assert middle["train"][0] == [100, 100, 100]
    assert middle["train"][1] == pytest.approx([10, 200, 30], abs=4)  # JPEG
    assert middle["train"][2] == [9, 80, 200]
    assert middle["train"][3] == [255, 255, 255]
    assert middle["test"][0] == [255, 255, 255]  # fully transparent: the white behind it
    assert middle["test"][1] == pytest.approx([127] * 3, abs=1)  # half black on white
    assert middle["test"][2] == [255, 255, 255]
    assert middle["test"][3] == pytest.approx([255, 0, 0], abs=4)  # no cyan, all magenta and yellow


def test_a_gray_set_has_one_channel(tmp_path, save_image):
    for split in ("train", "test"):
        save_image(tmp_path / "gray" / split / "a" / "0.png", "L", color=7)
        save_image(tmp_path / "gray" / split / "b" / "0.png", "I;16", color=257 * 9 + 100)
    dataset = load_dataset(tmp_path / "gray")
    assert dataset.image_shape == (1, 8, 8)
    assert dataset.train.images[:, 0, 0, 0].tolist() == [7, 9]


@pytest.mark.parametrize("where", ["train/a/1.png", "test/b/1.png"])
def test_one_color_image_anywhere_makes_the_set_rgb(tmp_path, save_image, where):
    for split in ("train", "test"):
        for label in "ab":
            save_image(tmp_path / "gray" / split / label / "0.png", "L", color=7)
    save_image(tmp_path / "gray" / where, "RGB", color=(1, 2, 3))
    assert load_dataset(tmp_path / "gray").image_shape == (3, 8, 8)


def test_exif_rotation_is_applied(tmp_path, save_image):
    root = tmp_path / "turned"
    for split in ("train", "test"):
        for label in "ab":
            save_image(root / split / label / "0.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255  # white on top as stored, so white on the right as seen
    Image.fromarray(pixels).save(root / "train/a/0.png", exif=exif)
    seen = load_dataset(root).train.images[0, 0]
    assert seen[:, 4:].min() == 255
    assert seen[:, :4].max() == 0


def test_mixed_sizes_are_named_and_image_size_is_advised(class_folders, save_image):
    save_image(class_folders / "train/a/9.png", size=(10, 12))
    with pytest.raises(DataError, match=r"2 sizes \(8x8: 12, 10x12: 1\).*`image_size=N`"):
        load_dataset(class_folders)


def test_images_that_are_not_square_stay_so_unless_a_size_is_given(tmp_path, save_image):
    for split in ("train", "test"):
        for label in "ab":
            save_image(tmp_path / "wide" / split / label / "0.png", size=(9, 6))
    wide = load_dataset(tmp_path / "wide")
    assert wide.image_shape == (3, 6, 9)
    assert contact_sheet(wide, per_class=1).height == 2 * (6 * 8 + 2) + 2
    assert load_dataset(tmp_path / "wide", image_size=4).image_shape == (3, 4, 4)


@pytest.mark.parametrize("content", [b"no image at all", "cut"])
def test_an_unreadable_image_is_named_or_skipped_and_counted(class_folders, content, capsys):
    bad = class_folders / "train" / "a" / "1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(bad)
    bad.write_bytes(bad.read_bytes()[:100] if content == "cut" else content)
    with pytest.raises(UnreadableImageError, match=r"train/a/1\.png cannot be read .*`skip_unreadable=True`"):
        load_dataset(class_folders)
    dataset = load_dataset(class_folders, skip_unreadable=True)
    assert dataset.skipped == 1
    assert dataset.train.images[:, 0, 0, 0].tolist() == [200, 202, 203, 0, 0, 0, 0]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    out, err = capsys.readouterr()
    assert out == ""
    assert "skipped 1 unreadable image" in err
    assert load_dataset(class_folders, skip_unreadable=True).skipped == 1  # from the cache


def test_a_class_that_is_only_unreadable_is_named(class_folders):
    for path in (class_folders / "train" / "b").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="class 'b' has no training images"):
        load_dataset(class_folders, skip_unreadable=True)


def test_an_empty_class_is_named(class_folders):
    (class_folders / "train" / "empty one").mkdir()
    with pytest.raises(DataError, match=r"class 'empty one' has no training images.*`classes`"):
        load_dataset(class_folders)


@pytest.mark.parametrize("fraction", [None, 0.5])
def test_the_classes_that_have_images_can_be_chosen(class_folders, save_image, fraction):
    root = class_folders if fraction is None else class_folders / "train"
    (class_folders / "train" / "empty one").mkdir()
    save_image(class_folders / "train" / "z" / "0.png")
    save_image(class_folders / "train" / "z" / "1.png")
    with pytest.raises(DataError, match="class 'empty one' has no training images"):
        load_dataset(root, test_fraction=fraction)
    dataset = load_dataset(root, test_fraction=fraction, classes=("z", "b"))  # cached by the call before
    assert dataset.class_names == ("z", "b")
    assert dataset.class_sizes().tolist() == ([2, 4] if fraction is None else [1, 2])
    with pytest.raises(DataError, match="class 'empty one' has no training images"):
        load_dataset(root, test_fraction=fraction, classes=("a", "b", "empty one"))


def test_one_class_is_refused(class_folders):
    for split in ("train", "test"):
        for path in (class_folders / split / "b").iterdir():
            path.unlink()
        (class_folders / split / "b").rmdir()
    with pytest.raises(DataError, match="has 1 class; distillation separates classes"):
        load_dataset(class_folders)
    assert not list((cache_root() / "folders").glob("*/dataset.json"))


def test_a_class_that_only_test_has_is_refused(class_folders, save_image):
    save_image(class_folders / "test" / "c" / "0.png")
    with pytest.raises(DataError, match="test/ has class 'c', which train/ lacks"):
        load_dataset(class_folders)


def test_a_folder_without_classes_says_what_is_wanted(tmp_path, save_image):
    save_image(tmp_path / "flat" / "0.png")
    with pytest.raises(DataError, match=r"wanted train/<class>/\*\.png"):
        load_dataset(tmp_path / "flat")


def test_one_level_needs_a_test_fraction(class_folders):
    with pytest.raises(DataError, match=r"no labeled test split.*`test_fraction=0\.2`"):
        load_dataset(class_folders / "train")


def test_a_test_fraction_beside_a_test_split_is_refused(class_folders):
    with pytest.raises(ConfigError, match="test split of its own"):
        load_dataset(class_folders, test_fraction=0.5)


def test_one_level_is_cut_by_class_and_seed(tmp_path, save_image):
    for n in range(10):
        save_image(tmp_path / "flat" / "a" / f"{n}.png", color=(n, 0, 0))
    for n in range(2):
        save_image(tmp_path / "flat" / "b" / f"{n}.png", color=(100 + n, 0, 0))
    draws = set()
    for seed in range(4):
        dataset = load_dataset(tmp_path / "flat", test_fraction=0.3, seed=seed)
        assert dataset.train.labels.bincount().tolist() == [7, 1]
        assert dataset.test.labels.bincount().tolist() == [3, 1]
        train, test = (tuple(split.images[:, 0, 0, 0].tolist()) for split in (dataset.train, dataset.test))
        assert sorted(train + test) == [*range(10), 100, 101]
        draws.add(test)
    assert len(draws) > 1


def test_a_changed_folder_is_read_again_into_the_same_place(class_folders, save_image):
    first = load_dataset(class_folders)
    save_image(class_folders / "train/a/9.png", color=(9, 9, 9))
    second = load_dataset(class_folders)
    assert len(second.train) == len(first.train) + 1
    assert second.fingerprint != first.fingerprint
    assert second.cache_folder == first.cache_folder
    assert first.train.images[0, 0, 0, 0] == 200  # a set that is open stays readable


def test_an_unchanged_folder_comes_from_the_cache(class_folders, monkeypatch):
    first = load_dataset(class_folders)
    monkeypatch.setattr("atom_distill.data.sources.paths._read", lambda *_: pytest.fail("it was read again"))
    assert load_dataset(class_folders).fingerprint == first.fingerprint


def test_the_image_size_must_be_positive(class_folders):
    with pytest.raises(ConfigError, match="`image_size` must be at least 1"):
        load_dataset(class_folders, image_size=0)


def test_no_partial_cache_is_left_behind(class_folders):
    (class_folders / "train" / "b" / "3.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError):
        load_dataset(class_folders)
    assert list((cache_root() / "folders").iterdir()) == []


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("training", "testing"), ("train", "dev"), ("TRAIN", "eval"), ("train_images", "test_images")],
)
def test_splits_have_many_names(class_folders, train, test):
    (class_folders / "train").rename(class_folders / train)
    (class_folders / "test").rename(class_folders / test)
    dataset = load_dataset(class_folders)
    assert dataset.class_names == ("a", "b")
    assert (len(dataset.train), len(dataset.test)) == (8, 4)


def test_what_is_not_used_is_named(class_folders, save_image, capsys):
    for part in ("dev", "extra"):
        for label in "ab":
            save_image(class_folders / part / label / "0.png")
    save_image(class_folders / "unlabeled" / "0.png")
    load_dataset(class_folders)
    told = capsys.readouterr().err
    assert "not used: dev, extra" in told
    assert "1 in unlabeled" in told
    assert len(load_dataset(class_folders, test_split="extra").test) == 2


def test_a_class_may_have_the_name_of_a_split(tmp_path, save_image, capsys):
    for name in ("train", "bus", "car"):
        for n in range(4):
            save_image(tmp_path / name / f"{n}.png")
    assert load_dataset(tmp_path, test_fraction=0.5).class_names == ("bus", "car", "train")
    assert "train taken for a class like bus" in capsys.readouterr().err
    for split in ("train", "test"):
        for name in ("train", "test"):
            save_image(tmp_path / "both" / split / name / "0.png")
    assert load_dataset(tmp_path / "both").class_names == ("test", "train")


@pytest.mark.parametrize("unlabeled", ["test/0.png", "test/unknown/0.png"])
def test_an_unlabeled_test_folder_gives_way_to_a_labeled_split(class_folders, save_image, unlabeled, capsys):
    (class_folders / "test").rename(class_folders / "val")
    save_image(class_folders / unlabeled)
    assert len(load_dataset(class_folders).test) == 4
    assert "test not used" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["holdout", "Set 2"])
def test_a_split_of_an_unknown_name_is_asked_for(class_folders, other):
    (class_folders / "test").rename(class_folders / other)
    with pytest.raises(DataError, match=f"one of {other} is the test split, pass its name as `test_split`"):
        load_dataset(class_folders)
    assert len(load_dataset(class_folders, test_split=other).test) == 4


def test_folders_of_splits_without_classes_are_not_classes(tmp_path, save_image):
    for name in ("train", "test"):
        for n in range(4):
            save_image(tmp_path / name / f"{n}.png")
    with pytest.raises(DataError, match=r"names of splits, but test/ has no class folders.*metadata\.csv"):
        load_dataset(tmp_path, test_fraction=0.5)


def test_splits_without_one_of_training_are_not_classes(class_folders):
    (class_folders / "train").rename(class_folders / "val")
    with pytest.raises(DataError, match="names of splits, but none of them is train"):
        load_dataset(class_folders, test_fraction=0.5)
    (class_folders / "val").rename(class_folders / "learn")
    with pytest.raises(DataError, match="test/ has the classes of learn/, but there is no train/"):
        load_dataset(class_folders, test_fraction=0.5)


def test_train_beside_folders_of_images_is_asked_about(tmp_path, save_image):
    for path in ("train/steam/0.png", "train/diesel/0.png", "bus/0.png"):
        save_image(tmp_path / path)
    with pytest.raises(DataError, match="not clear whether train is a split or a class beside bus"):
        load_dataset(tmp_path, test_fraction=0.5)


@pytest.mark.parametrize("wrapped", ["", "train", "test"])
def test_a_folder_around_the_classes_is_passed(class_folders, tmp_path, wrapped, capsys):
    inside = class_folders / wrapped
    inside.rename(tmp_path / "moved")
    inside.mkdir()
    (tmp_path / "moved").rename(inside / "images")
    dataset = load_dataset(class_folders)
    assert (dataset.class_names, len(dataset.train), len(dataset.test)) == (("a", "b"), 8, 4)
    assert "images/ is the only folder with images there" in capsys.readouterr().err


def test_a_test_split_of_one_class_with_folders_in_it_is_no_wrapper(class_folders, save_image):
    for path in (class_folders / "test").rglob("*.png"):
        path.unlink()
    for name in ("b", "x"):
        save_image(class_folders / "test" / "a" / name / "0.png")
    assert load_dataset(class_folders).test.labels.tolist() == [0, 0]


def test_a_class_of_one_image_can_be_left_out(tmp_path, save_image):
    for name, count in (("a", 4), ("b", 4), ("c", 1)):
        for number in range(count):
            save_image(tmp_path / "set" / name / f"{number}.png")
    with pytest.raises(DataError, match="class 'c' has 1 image; `test_fraction` needs at least 2 per class"):
        load_dataset(tmp_path / "set", test_fraction=0.5)
    dataset = load_dataset(tmp_path / "set", test_fraction=0.5, classes=("a", "b"))
    assert (dataset.class_sizes().tolist(), len(dataset.test)) == ([2, 2], 4)


@pytest.mark.parametrize("option", ["image_column", "label_column"])
def test_class_folders_have_no_columns(class_folders, option):
    with pytest.raises(ConfigError, match=f"leave out `{option}`"):
        load_dataset(class_folders, **{option: "x"})


def test_a_test_fraction_leaves_no_test_split_to_choose(class_folders):
    with pytest.raises(ConfigError, match="the test split is that of `test_fraction`; leave out `test_split`"):
        load_dataset(class_folders / "train", test_fraction=0.5, test_split="test")
