"""`atom watch`: the report of an unfinished run, kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from pydantic import Field

from atom_distill.cli.options import CommandOptions, JsonFlag, parse
from atom_distill.cli.output import print_json, print_line
from atom_distill.cli.report import check_page
from atom_distill.cli.runs import MOVED_TO_HELP, MovedTo

if TYPE_CHECKING:
    from atom_distill.report.reading import RunView

_DESCRIPTION = (
    "Rewrite the report of an unfinished run whenever the run has saved something, until it is finished. "
    "The page reloads itself in the browser; Ctrl-C stops watching, not the run."
)


class WatchCommand(CommandOptions):
    """Options of `atom watch`."""

    run: tyro.conf.Positional[Path] = Field(description="Run folder.")
    out: Path = Field(default=Path("watch.html"), description="HTML file to write.")
    moved_to: MovedTo = Field(default=None, description=MOVED_TO_HELP)
    every: float = Field(default=10.0, gt=0, description="Time between two checks of the run (seconds).")
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output at the end.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom watch`."""
    options = parse(WatchCommand, command="watch", description=_DESCRIPTION, arguments=arguments)
    check_page(options.out)
    from atom_distill.base.progress import note
    from atom_distill.report.watch_run import watch

    def on_page(view: RunView) -> None:
        loss = f", loss {view.history[-1]['loss']:.3f}" if view.history else ""
        done = view.history[-1]["step"] if view.history else view.steps
        note(f"{options.out}: step {done} of {view.settings.get('steps', '?')}{loss}")

    last = watch(options.run, options.out, every=options.every, on_page=on_page, moved_to=options.moved_to)
    if options.json_output:
        print_json({"page": options.out, "run": options.run, "steps": last.steps, "finished": last.finished})
        return
    print_line(f"{options.run} is finished: open {options.out} in a browser")
