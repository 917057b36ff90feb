"""Named sets from the Hugging Face hub; without a network the answer comes at once."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass

from atom_distill.base.progress import note
from atom_distill.data.cache.raw import NotHereError, RawDataset
from atom_distill.data.sources.arrow_tables import Columns, read_hf

_PROBE_SECONDS = 8.0
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


@dataclass(frozen=True)
class HubSet:
    """A data set on the hub: its repository and columns; `class_names` overrides the hub's spelling."""

    repository: str
    columns: Columns
    class_names: tuple[str, ...] | None = None


def fetch(hub_set: HubSet) -> RawDataset:
    """Download (or take from the hub's own cache) and read a set.

    Raises:
        NotHereError: the hub cannot be reached, or does not give the set.
    """
    repository = hub_set.repository
    if not any(os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON") for name in _OFFLINE_VARIABLES):
        _probe(repository)
        note(f"fetching {repository} from the Hugging Face hub")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            import datasets

            found = datasets.load_dataset(repository)
    except Exception as error:  # the hub's client, the network and the builders each raise their own types
        raise NotHereError(f"the Hugging Face hub did not give {repository} ({_first_line(error)})") from error
    return read_hf(found, f"Hugging Face hub: {repository}", columns=hub_set.columns, class_names=hub_set.class_names)


def _probe(repository: str) -> None:
    """Ask the hub one question with a deadline; its downloader would retry for minutes."""
    failure: list[Exception] = []

    def ask() -> None:
        try:
            from huggingface_hub import HfApi

            endpoint = os.environ.get("HF_ENDPOINT") or None
            HfApi(endpoint=endpoint).dataset_info(repository, timeout=_PROBE_SECONDS)
        except Exception as error:
            failure.append(error)

    # a thread, because the time that a name server takes is outside the client's own timeout
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2 * _PROBE_SECONDS)
    if thread.is_alive():
        raise NotHereError(f"the Hugging Face hub did not answer within {2 * _PROBE_SECONDS:.0f} s")
    if failure:
        raise NotHereError(
            f"the Hugging Face hub cannot be reached for {repository} ({_first_line(failure[0])})"
        ) from failure[0]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
