"""The errors a user can act upon.

Libraries raise them; only `cli/` turns them into one line on standard error and exit code 2. Every message
says what was wanted, what came, and what to do.
"""


class AtomError(Exception):
    """Base of every error that is about the user's input or environment, not about a bug of ours."""


class ConfigError(AtomError, ValueError):
    """A setting is out of range, or two settings contradict each other."""


class UnknownNameError(AtomError, KeyError):
    """A name is not in its registry; the message suggests the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the repr, quotes and all


class DataError(AtomError):
    """A data set cannot be found, read or used as it is."""


class UnreadableImageError(DataError):
    """An image file cannot be decoded."""


class CacheError(DataError):
    """A cached data set is truncated or changed since it was written."""


class ArtifactError(AtomError):
    """A run folder is missing, incomplete, damaged, or holds something else."""


class HubError(AtomError):
    """The Hugging Face hub cannot be reached, or does not take what it is sent."""


class MissingExtraError(AtomError, ImportError):
    """An optional package is needed for this and is not installed."""


class ShapeError(AtomError, ValueError):
    """A tensor does not have the shape that a function needs."""


class LostRankError(AtomError):
    """Another process of the run is gone, and nothing can be exchanged with it."""


class NonFiniteError(AtomError, ArithmeticError):
    """The loss became NaN or infinite; names the step and the last good checkpoint."""


class InterruptedRunError(AtomError):
    """The user stopped a run (Ctrl-C); its state is saved and the message says how to resume."""
