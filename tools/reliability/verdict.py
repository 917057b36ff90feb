"""What may come of a command, whatever it is given: success, or one line that says what is wrong."""

from __future__ import annotations

from reliability.children import LIMIT_MIB, LIMIT_S, Outcome

_SHOWN = 1500


def problem(outcome: Outcome) -> str | None:
    """Return what a command did that none may do; None if it succeeded, or refused with one line and exit code 2."""
    last = _last_line(outcome.err)
    wrong = {
        f"wrote outside of its folders: {', '.join(outcome.strays[:3])}": bool(outcome.strays),
        f"hung: not done after {LIMIT_S:.0f} s": not outcome.in_time,
        f"died of signal {-outcome.code}": outcome.code < 0,
        f"took {outcome.peak_mib:.0f} MiB of memory": outcome.peak_mib > LIMIT_MIB,
        f"traceback: {last}": "Traceback (most recent call last)" in outcome.err,
        f"exit code {outcome.code}: {last}": outcome.code not in (0, 2),
        f"the refusal is not one line: {outcome.err[-_SHOWN:]!r}": outcome.code == 2 and not _is_clear(outcome.err),
    }
    return next((text for text, holds in wrong.items() if holds), None)


def _is_clear(err: str) -> bool:
    """Return whether a refusal ends with one line of its own; the option parser's box names `--help`."""
    return _last_line(err).startswith("atom") or ("--help" in err and not err.startswith("atom"))


def _last_line(err: str) -> str:
    return (err.splitlines() or [""])[-1]
