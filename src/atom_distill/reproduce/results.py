"""The JSON file of a table: its finished cells, and how they were made."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from atom_distill.base.errors import ArtifactError
from atom_distill.base.files import read_json_as, write_json
from atom_distill.base.record import run_record
from atom_distill.reproduce.cell import Result
from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.titles import TableName


class Record(BaseModel):
    """How some of the cells were made; all that `base.record` returns is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    command: str
    commit: str | None = None
    machine: str
    threads: int
    torch: str
    started: str
    cells: tuple[str, ...] = ()
    """Row/column of those made this way, as far as they are not replaced."""


class Results(BaseModel):
    """The finished cells of a table.

    Attributes:
        table: its name.
        cells: in the order in which they were first finished.
        records: commands, versions, commits and machines that made them, without duplicates.
        remark: an interpretation, written by hand; shown under the table.
    """

    model_config = ConfigDict(extra="forbid")

    table: TableName
    cells: list[Result | Cost] = []
    records: list[Record] = []
    remark: str = ""

    def add(self, result: Result | Cost) -> None:
        """Add a result, or replace the one in its place; a new one is recorded."""
        if result in self.cells:
            return
        places = [(cell.row, cell.column) for cell in self.cells]
        if (result.row, result.column) in places:
            self.cells[places.index((result.row, result.column))] = result
        else:
            self.cells.append(result)
        self._record(f"{result.row}/{result.column}")

    def _record(self, name: str) -> None:
        """Record that the cell of a name was made now, and no longer as it was before."""
        now = Record(**run_record())
        ways = [kept.model_copy(update={"started": now.started, "cells": ()}) for kept in self.records]
        if now not in ways:
            self.records.append(now)
            ways.append(now)
        made = ways.index(now)
        for place, kept in enumerate(self.records):
            others = tuple(cell for cell in kept.cells if cell != name)
            self.records[place] = kept.model_copy(update={"cells": (*others, name) if place == made else others})

    def accuracy(self, row: str, column: str) -> Result | None:
        """Return the accuracies of a cell; None if there are none yet."""
        return next((cell for cell in self.accuracies() if (cell.row, cell.column) == (row, column)), None)

    def accuracies(self) -> list[Result]:
        """Return the cells that are accuracies."""
        return [cell for cell in self.cells if isinstance(cell, Result)]

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        write_json(path, self.model_dump(mode="json"))


_FILE = TypeAdapter(Results)


def load_results(path: Path, table: TableName | None = None) -> Results:
    """Read the file of a table; with `table`, a missing file gives empty results.

    Raises:
        ArtifactError: the file is damaged, or of another table than `table`.
    """
    if table is not None and not path.exists():
        return Results(table=table)
    results = read_json_as(_FILE, path, advice="run again")
    if table not in (None, results.table):
        raise ArtifactError(f"{path} holds the table {results.table}; give another `out`")
    return results
