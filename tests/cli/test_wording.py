"""Errors name arguments in the library, and options on the command line."""

from __future__ import annotations

import re

import pytest

from atom_distill.base.errors import ConfigError
from atom_distill.cli.wording import as_options, flags_of
from atom_distill.data.load import load_dataset

FLAGS = {"image_size": "--image-size", "init": "--init", "resume": "--resume", "dataset": "--as"}
COMMANDS = ("data", "distill", "import", "reproduce", "search", "evaluate", "sets", "export", "report", "watch")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("see `image_size`", "see --image-size"),
        ("pass `image_size=32` or more", "pass --image-size 32 or more"),
        ('pass `init="noise"`, or `init=noise`', "pass --init noise, or --init noise"),
        ("go on with `resume=True`", "go on with --resume"),
        ("is `dataset` the set?", "is --as the set?"),
        ("`ipc=1` and `image_size_2` are no options here", "`ipc=1` and `image_size_2` are no options here"),
        ("image_size, init=noise without backquotes", "image_size, init=noise without backquotes"),
        ("make it with `atom data x --refresh`", "make it with `atom data x --refresh`"),
        ("`` and `init.x` and `=1`", "`` and `init.x` and `=1`"),
    ],
)
def test_arguments_become_options(message, told):
    assert as_options(message, FLAGS) == told


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_of_a_command_are_those_of_its_help(atom, command):
    named = re.findall(r"^│ (-.+?)(?:  | │|$)", atom(f"{command} --help").out, re.MULTILINE)
    listed = {option for names in named for option in re.findall(r"--(?!no-)[a-z-]+", names)}
    flags = set(flags_of(command).values())
    others = {"--selection-epochs"} if command == "distill" else set()  # an option of other methods than atom
    assert flags - others == listed - {"--help", "--matching-arch"}  # another name of --arch


def test_an_unknown_command_has_no_options():
    assert flags_of("nothing") == {}


def test_the_same_error_in_python_and_on_the_command_line(refused):
    with pytest.raises(ConfigError, match="`image_size` must be at least 1 pixel"):
        load_dataset("digits", image_size=0)
    assert "--image-size must be at least 1 pixel" in refused("data digits --image-size 0")
