"""`atom report`: runs as one HTML page that needs neither network nor server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from atom_distill.base.errors import ConfigError
from atom_distill.base.writable import require_writable
from atom_distill.cli.options import CommandOptions, JsonFlag, parse, shown
from atom_distill.cli.output import print_json, print_line
from atom_distill.cli.runs import MOVED_TO_HELP, RUN_HELP, MovedTo, run_folder

_DESCRIPTION = (
    "Write an HTML page of one or several runs: images next to their initial and nearest real images, their evolution, "
    "attention, curves, scores and settings. The page is one file that works offline and can be shared."
)

_GENERATOR = b'<meta name="generator" content="atom-distill">'
"""In the first bytes of every report, which may be overwritten."""
_FIRST_BYTES = 1000


class ReportCommand(CommandOptions):
    """Options of `atom report`."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(help_behavior_hint="(required)")] = Field(
        description=f"{RUN_HELP}; several are compared."
    )
    out: Path = Field(default=Path("report.html"), description="HTML file to write.")
    moved_to: MovedTo = Field(default=None, description=MOVED_TO_HELP)
    images: Annotated[int | None, shown("what keeps the page light")] = Field(
        default=None, ge=1, description="Maximum images shown, for all runs together; the first of each class."
    )
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom report`."""
    options = parse(ReportCommand, command="report", description=_DESCRIPTION, arguments=arguments)
    check_page(options.out)
    from atom_distill.base.files import write_text
    from atom_distill.base.sizes import readable_size
    from atom_distill.report.html_page import make_report

    report = make_report([*map(run_folder, options.runs)], max_images=options.images, moved_to=options.moved_to)
    write_text(options.out, report.html)
    size = options.out.stat().st_size
    if options.json_output:
        print_json({"page": options.out, "bytes": size, "runs": list(report.missing), "missing": report.missing})
        return
    for folder, lines in report.missing.items():
        for line in lines:
            print_line(f"not shown for {folder}: {line}")
    print_line(f"{options.out} ({readable_size(size)}): open it in a browser")


def check_page(out: Path) -> None:
    """Refuse a page that browsers would not open by its name, and one that would overwrite something else.

    Raises:
        ConfigError: the name does not end in .html, or it exists and is not a report.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out must end in .html, got {out}")
    if out.is_dir() or (out.exists() and _GENERATOR not in out.read_bytes()[:_FIRST_BYTES]):
        raise ConfigError(f"{out} already exists and is not a report: give another --out, or remove it")
    require_writable(out, "out")
