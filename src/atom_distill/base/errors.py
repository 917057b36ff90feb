"""Errors that the user can act upon.

The library raises them; only `cli/` turns them into one line on standard error and exit code 2. Every message
says what was expected, what was given, and what to do.
"""


class AtomError(Exception):
    """Base of all errors caused by the user's input or environment rather than by a bug."""


class ConfigError(AtomError, ValueError):
    """A setting is out of range, or two settings contradict each other."""


class UnknownNameError(AtomError, KeyError):
    """A name is not registered; the message suggests the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the repr, in quotes


class DataError(AtomError):
    """A dataset cannot be found, read or used as it is."""


class UnreadableImageError(DataError):
    """An image file cannot be decoded."""


class CacheError(DataError):
    """A cached dataset was truncated or changed after it was written."""


class ArtifactError(AtomError):
    """A run folder is missing, incomplete or damaged, or contains something else."""


class HubError(AtomError):
    """The Hugging Face hub cannot be reached, or rejects an upload."""


class MissingExtraError(AtomError, ImportError):
    """An optional package is required and is missing or cannot be imported."""


class ShapeError(AtomError, ValueError):
    """A tensor does not have the shape that a function needs."""


class LostRankError(AtomError):
    """Another process of a distributed run has died or does not respond."""


class LostWorkerError(AtomError):
    """A worker process, which this one started for some of its tasks, has died."""


class NonFiniteError(AtomError, ArithmeticError):
    """The loss became NaN or infinite; the message names the step and the last good checkpoint."""


class InterruptedRunError(AtomError):
    """The user stopped a run (Ctrl-C); its state is saved and the message says how to resume."""
