"""Write docs/results.md from the committed results: `make results`. No figure in it is typed by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from atom_distill.base.files import write_text
from atom_distill.reproduce.render import TITLES, markdown
from atom_distill.reproduce.runner import read_results

_HEAD = """\
# Results

Built by `make results` from the files in `results/` that `atom reproduce` wrote; each table names its file, where every
network's accuracy, all settings, versions and the machine are.
"""


def document(folder: Path) -> str:
    """Give the page of all tables in a folder of results.

    Raises:
        ArtifactError: a file is damaged.
    """
    sections = []
    for path in sorted(folder.glob("*.json"), key=_place):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "table" not in content:
            continue  # a benchmark's
        record = content["record"]
        made = f"{record['machine']}, {record['threads']} threads, torch {record['torch']}, commit {content['commit']}"
        said = [f"{content['remark']}\n"] if content.get("remark") else []
        source = f"[{path.name}](../results/{path.name}): `{record['command']}`; {made}.\n"
        sections += [markdown(content["table"], read_results(path)), *said, source]
    return "\n".join([_HEAD, *sections])


def _place(path: Path) -> tuple[int, str]:
    """Order tables as in the paper."""
    table = json.loads(path.read_text(encoding="utf-8")).get("table")
    names = list(TITLES)
    return (names.index(table) if table in names else len(names), path.name)


if __name__ == "__main__":
    write_text(Path(sys.argv[2]), document(Path(sys.argv[1])))
