"""The `atom` command: finds the command's module, loads it, and words its errors."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from atom_distill import __version__
from atom_distill.base.cache_folder import compiled_code_folder
from atom_distill.base.errors import AtomError, ConfigError, InterruptedRunError, LostRankError
from atom_distill.base.process import tune_process
from atom_distill.base.progress import note
from atom_distill.base.registry import unknown_name
from atom_distill.cli.wording import as_options, flags_of
from atom_distill.processes.launcher import launched
from atom_distill.processes.neighbors import announced

COMMANDS = {
    "data": "fetch, check and describe a data set",
    "distill": "distill a data set to a few images per class",
    "import": "read a distilled set that others published",
    "reproduce": "run a table of the papers beside the published figures",
    "search": "rank architectures on small proxies of the data",
    "evaluate": "train networks from scratch on a distilled set and test them",
    "sets": "list the distilled sets that come with the package",
    "export": "write a distilled set for other tools, or to the Hugging Face hub",
    "report": "show runs as one page, for any browser",
    "watch": "the same page while a run goes on",
}

_OVER_RANKS = ("distill", "evaluate")
"""Commands that several processes, started by torchrun, can run together."""

_COMPUTING = ("distill", "evaluate", "reproduce", "search")
"""Commands that use all cores for long, two of which disturb each other."""
_STOPPED = {
    "distill": "stopped; to continue, give the same command again, with --resume if the folder of the run is there",
    "evaluate": "stopped; the same command continues with what was saved, as is done every half minute",
    **dict.fromkeys(("reproduce", "search"), "stopped; the same command continues"),
}
"""What a command says at Ctrl-C, if it keeps what is finished."""
_QUICK = {"-h", "--help", "--dry-run"}
"""Options with which a command computes nothing for long."""

_HELP = """\
usage: atom COMMAND [OPTIONS]

Turn a large image data set into a tiny synthetic one that networks can be trained on.

commands:
{commands}

options:
  -h, --help     show this help
  --version      show the version

`atom COMMAND --help` explains a command. A first run: atom distill digits --ipc 1 --steps 300
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        Exit code: 0 done, 1 another rank died, 2 something for the user to correct, 130 stopped by the user.
    """
    _prepare_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<14} {text}" for name, text in COMMANDS.items()]
        sys.stdout.write(_HELP.format(commands="\n".join(lines)))
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"atom-distill {__version__}\n")
        return 0
    return _run(arguments[0], arguments[1:])


def _prepare_streams() -> None:
    """Make every text printable: as escapes where the terminal lacks a character, into nothing where it is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (open to the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(name: str, arguments: list[str]) -> int:
    tune_process(compiled_code=compiled_code_folder())
    try:
        _command(name, arguments)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away, as `head` does
    except (AtomError, OSError, KeyboardInterrupt) as error:
        return _told(name, error)
    finally:
        _part_from_other_ranks()
    return 0


def _command(name: str, arguments: list[str]) -> None:
    if name not in COMMANDS:
        raise unknown_name("command", name, list(COMMANDS))
    if launched().size > 1:
        if name not in _OVER_RANKS:
            raise ConfigError(f"only {' and '.join(_OVER_RANKS)} can be run by several processes: use no torchrun")
        from atom_distill.processes.ranks import join

        join()
    computes = name in _COMPUTING and not _QUICK & {*arguments}
    computing: AbstractContextManager[None] = announced(name) if computes else nullcontext()
    with computing:
        importlib.import_module(f"atom_distill.cli.{name}").command(arguments)


def _told(name: str, error: BaseException) -> int:
    """Print an error for the user and return the exit code."""
    command = f"atom {name}" if name in COMMANDS else "atom"
    stopped = _STOPPED.get(name, "stopped")
    told = stopped if isinstance(error, KeyboardInterrupt) else as_options(_text(error), flags_of(name))
    if isinstance(error, LostRankError):
        print(f"{command}: {told}", file=sys.stderr)  # noqa: T201 (whichever rank is left says so)
        return 1
    note(f"{command}: {told}")
    # Of errors of the system too: the disk is full, a folder is read-only; the user's to mend, a traceback is no help.
    return 130 if isinstance(error, InterruptedRunError | KeyboardInterrupt) else 2


def _text(error: BaseException) -> str:
    """Return the message of an error, with advice where the system's names neither a file nor a way out."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({error}): free some space, or write to another disk"
    return str(error)


def _part_from_other_ranks() -> None:
    if "torch" in sys.modules:  # else this process has met nobody
        from atom_distill.processes.ranks import leave

        leave()
