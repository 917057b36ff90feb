"""Run the notebooks beside this file and store what they print and draw: `make notebooks`.

    python examples/run_notebooks.py [NAME.ipynb ...]

Each runs from top to bottom in a fresh kernel and an empty folder. What depends on the machine (times of cells,
progress, versions) is left out, and pictures are reduced to few colors, so that the files stay small.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from atom_distill.base.files import write_text

HERE = Path(__file__).parent
SECONDS_A_CELL = 1200
COLORS = 128


def main(names: list[str]) -> None:
    """Run notebooks by name, or all, and write them back."""
    for path in [HERE / name for name in names] or sorted(HERE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        tidy(notebook)
        write_text(path, nbformat.writes(notebook) + "\n")
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} KB")


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run a notebook in place, with a folder as its working folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message has its traceback.
    """
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS_A_CELL, kernel_name="python3", resources=place).execute(
        env=_settings(folder)
    )


def with_parameters(notebook: NotebookNode, values: Mapping[str, Any]) -> None:
    """Give the names of the cell tagged `parameters` other values, by a cell of assignments after it.

    Raises:
        KeyError: that cell does not set a name.
    """
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    for name in values:
        if f"\n{name} = " not in f"\n{notebook.cells[place].source}":
            raise KeyError(name)
    lines = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(lines))


def sources_digest(notebook: NotebookNode) -> str:
    """Hash the code of a notebook, to tell whether its outputs are of that code."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def tidy(notebook: NotebookNode) -> None:
    """Leave out what depends on the machine, make pictures small, and note which code the outputs are of."""
    for cell in notebook.cells:
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags"}
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]  # progress
        for output in cell.outputs:
            if "metadata" in output:
                output.metadata = {}
            if "image/png" in output.get("data", {}):
                output.data = {"image/png": _smaller(output.data["image/png"]), "text/plain": "a picture"}
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "outputs_of": sources_digest(notebook),
        }
    )


def _smaller(picture: str) -> str:
    """Reduce the colors of a PNG in base64."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    written = io.BytesIO()
    image.quantize(COLORS, dither=Image.Dither.NONE).save(written, format="PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def _settings(folder: Path) -> dict[str, str]:
    """Keep the kernel's own files, and the decoded pictures, out of the user's folders."""
    return {**os.environ, "IPYTHONDIR": str(folder / ".ipython"), "ATOM_DATA": str(folder / ".data")}


if __name__ == "__main__":
    main(sys.argv[1:])
