"""What may come of a command, whatever it is given: success, or one line that says what is wrong."""

from __future__ import annotations

from reliability.children import LIMIT_MIB, LIMIT_S, Outcome

_SHOWN = 1500


def problem(outcome: Outcome) -> str | None:
    """Return what a command did that none may do; None if it succeeded, or refused with one line and exit code 2."""
    if outcome.strays:
        return f"wrote outside of its folders: {', '.join(outcome.strays[:3])}"
    if not outcome.in_time:
        return f"hung: not done after {LIMIT_S:.0f} s"
    if outcome.code < 0:
        return f"died of signal {-outcome.code}"
    if outcome.peak_mib > LIMIT_MIB:
        return f"took {outcome.peak_mib:.0f} MiB of memory"
    if "Traceback (most recent call last)" in outcome.err:
        return f"traceback: {_last_line(outcome.err)}"
    if outcome.code == 2:
        return _unclear(outcome.err)
    return None if outcome.code == 0 else f"exit code {outcome.code}: {_last_line(outcome.err)}"


def _unclear(err: str) -> str | None:
    """Return what is wrong with the message of a refusal; the option parser's box names `--help` and is left alone."""
    if "--help" in err and not err.startswith("atom"):
        return None
    return None if _last_line(err).startswith("atom") else f"the refusal is not one line: {err[-_SHOWN:]!r}"


def _last_line(err: str) -> str:
    return (err.splitlines() or [""])[-1]
