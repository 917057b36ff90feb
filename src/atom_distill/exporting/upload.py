"""Upload of an export to the Hugging Face hub, by its client and with its login."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from atom_distill.base.errors import ConfigError, HubError

_OWN_FILES = {".gitattributes"}
"""Files that the hub puts into a new repository."""


class Destination:
    """A data-set repository that the logged-in user may write to; checked before anything is exported.

    Args:
        repository: USER/NAME.
        private: whether a new repository is visible to its owner only.
        force: whether a repository that holds files may get a new version of them.

    Raises:
        ConfigError: it is not a valid name, or the repository holds files already, or is public and should be private.
        HubError: nobody is logged in, or the hub does not answer.
    """

    def __init__(self, repository: str, *, private: bool = False, force: bool = False) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        try:
            validate_repo_id(repository)
        except HFValidationError as error:
            raise ConfigError(
                f"`push` {repository!r} is not a valid name of a data set on the hub: {_line(error)}"
            ) from None
        if repository.count("/") != 1:
            raise ConfigError(f"`push` {repository!r} must be USER/NAME: your name on the hub and a name for the set")
        self.repository, self._private, self._api = repository, private, HfApi()
        with _hub_errors("nothing was written or sent"):
            self._api.whoami()
            held, is_public = self._found()
        if is_public and private:
            raise ConfigError(
                f"{repository} is on the hub already, for everybody to see: `private` makes a new data set private; "
                "give another name, or make this one private on its page there"
            )
        if held and not force:
            raise ConfigError(
                f"{repository} on the hub holds files already ({', '.join(sorted(held)[:3])}, ...): give another name, "
                "or `force=True` for a new version of it; the hub keeps the old one"
            )

    def _found(self) -> tuple[set[str], bool]:
        """Return the files of the repository, and whether everybody can see it; no files where there is none."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            found = self._api.dataset_info(self.repository)
        except RepositoryNotFoundError:
            return set(), False
        return {sibling.rfilename for sibling in found.siblings or []} - _OWN_FILES, not found.private

    def send(self, folder: Path) -> str:
        """Upload a folder, and return the address of the repository.

        Raises:
            HubError: the hub did not accept it.
        """
        with _hub_errors(f"the export is complete in {folder}: send it again in the same way with `force=True`"):
            address = self._api.create_repo(
                self.repository, repo_type="dataset", private=self._private or None, exist_ok=True
            )
            self._api.upload_folder(
                folder_path=folder,
                repo_id=self.repository,
                repo_type="dataset",
                commit_message="Distilled set, by atom-distill",
            )
        return str(address)


@contextlib.contextmanager
def _hub_errors(consequence: str) -> Iterator[None]:
    """Raise any error of the client as a `HubError` of one line, and keep its messages off standard output."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except LocalTokenNotFoundError:
        raise HubError(
            f"nobody is logged in to the Hugging Face hub: run `hf auth login`, or set HF_TOKEN; {consequence}"
        ) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        advice = ": is the login's token valid, and may it write there?" if status in (401, 403) else ""
        raise HubError(f"the Hugging Face hub refused ({_line(error)}){advice}; {consequence}") from None
    except Exception as error:  # the network layer raises many types, also through the client
        raise HubError(f"the Hugging Face hub cannot be reached ({_line(error)}); {consequence}") from None


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
