"""Options of commands whose tasks can run on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from atom_distill.base.errors import ConfigError
from atom_distill.cli.options import Flag, shown

if TYPE_CHECKING:
    from atom_distill.processes.ray_cluster import RaySettings


class RayOptions(BaseModel):
    """How Ray is used."""

    ray_address: Annotated[str | None, shown("starts Ray on this machine")] = Field(
        default=None, description="Address of a running Ray cluster, e.g. auto or ray://host:10001."
    )
    gpus_per_task: Annotated[float | None, shown("0.25 on GPUs")] = Field(
        default=None, ge=0, description="GPUs per task on Ray: a share of one, or a whole number."
    )
    dashboard: Flag = Field(default=False, description="Start Ray's dashboard.")

    def of_ray(self) -> list[str]:
        """Return the names of the options that were given, and mean something on Ray only."""
        values = {name: getattr(self, name) for name in RayOptions.model_fields}
        return [name for name, value in values.items() if value is not None and value is not False]

    def refuse_ray_options(self) -> None:
        """Refuse options of Ray where it is not used.

        Raises:
            ConfigError: one was given.
        """
        for name in self.of_ray():
            raise ConfigError(f"--{name.replace('_', '-')} is for Ray: add --on ray, or leave it out")

    def ray_settings(self, **others: object) -> RaySettings:
        """Return the settings of Ray.

        Raises:
            ConfigError: the options contradict each other.
        """
        from atom_distill.processes.ray_cluster import RaySettings

        return RaySettings(**{name: getattr(self, name) for name in RayOptions.model_fields}, **others)  # type: ignore[arg-type]
