"""The file that a table's cells are kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from atom_distill.base.errors import ArtifactError
from atom_distill.base.files import read_json_as, write_json
from atom_distill.base.record import run_record
from atom_distill.reproduce.cell import Result
from atom_distill.reproduce.cost import Cost

TableName = Literal["table1", "cross-arch", "components", "powers", "curve", "cost"]
"""In the order of the page of results."""


class Record(BaseModel):
    """What made some of a table's cells; `base.record` has more of it, which is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    command: str
    commit: str | None = None
    machine: str
    threads: int
    torch: str
    started: str


class Results(BaseModel):
    """The finished cells of a table.

    Attributes:
        table: its name.
        cells: in the order in which they were first found.
        records: commands, versions, commits and machines that found them, each once.
        remark: what the figures come to, in a person's words; shown under the table.
    """

    model_config = ConfigDict(extra="forbid")

    table: TableName
    cells: list[Result | Cost] = []
    records: list[Record] = []
    remark: str = ""

    def add(self, result: Result | Cost) -> None:
        """Put one more in, or in place of an earlier one."""
        if result in self.cells:
            return  # found again, not made again
        places = [(cell.row, cell.column) for cell in self.cells]
        if (result.row, result.column) in places:
            self.cells[places.index((result.row, result.column))] = result
        else:
            self.cells.append(result)
        record = Record(**run_record())
        if not any(_same_making(record, kept) for kept in self.records):
            self.records.append(record)

    def accuracy(self, row: str, column: str) -> Result | None:
        """Give what is known of a cell."""
        return next((found for found in self.accuracies() if (found.row, found.column) == (row, column)), None)

    def accuracies(self) -> list[Result]:
        """Give those that are accuracies."""
        return [found for found in self.cells if isinstance(found, Result)]

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        write_json(path, self.model_dump(mode="json"))


_FILE = TypeAdapter(Results)


def load_results(path: Path, table: TableName | None = None) -> Results:
    """Read a table's file; where there is none, `table` begins.

    Raises:
        ArtifactError: it is damaged, or of another table than `table`.
    """
    if table is not None and not path.exists():
        return Results(table=table)
    found = read_json_as(_FILE, path, advice="run again")
    if table not in (None, found.table):
        raise ArtifactError(f"{path} holds the table {found.table}; give another --out")
    return found


def _same_making(one: Record, other: Record) -> bool:
    return one.model_copy(update={"started": other.started}) == other
