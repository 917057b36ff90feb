"""Sending to the hub, with a hub of the test's own: what is asked of it in which order, and every way it says no."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

from atom_distill.base.errors import ConfigError, HubError
from atom_distill.exporting.export_distilled import export_distilled

httpx2 = pytest.importorskip("httpx2", reason="this version of huggingface_hub sends its requests by another library")


def answer(status: int, kind: type[HfHubHTTPError] = HfHubHTTPError) -> HfHubHTTPError:
    request = httpx2.Request("POST", "https://huggingface.co/api")
    return kind(f"{status} of the hub\nsecond line", response=httpx2.Response(status, request=request))


class Hub:
    """Remembers what it is asked, and fails where it is told to."""

    def __init__(self, held: list[str] | None = None, *, private: bool = False, **failures: Exception) -> None:
        self.held, self.private, self.failures, self.asked, self.sent = held, private, failures, [], {}

    def _ask(self, name: str, **what: object) -> None:
        self.asked.append((name, what))
        if name in self.failures:
            raise self.failures[name]

    def whoami(self) -> dict[str, str]:
        self._ask("whoami")
        return {"name": "jane"}

    def dataset_info(self, repository: str) -> SimpleNamespace:
        self._ask("dataset_info", repository=repository)
        if self.held is None:
            raise answer(404, RepositoryNotFoundError)
        files = [SimpleNamespace(rfilename=name) for name in self.held]
        return SimpleNamespace(siblings=files, private=self.private)

    def create_repo(self, repository: str, **what: object) -> str:
        self._ask("create_repo", repository=repository, **what)
        return f"https://huggingface.co/datasets/{repository}"

    def upload_folder(self, *, folder_path, **what: object) -> None:
        self._ask("upload_folder", **what)
        sys.stdout.write("noise of the client")
        self.sent = {str(path.relative_to(folder_path)): path.read_bytes() for path in folder_path.rglob("*.*")}


@pytest.fixture
def hub(monkeypatch):
    """Put a hub in place of the real one: `hub(whoami=error)`."""

    def use(held: list[str] | None = None, **options: Any) -> Hub:
        found = Hub(held, **options)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: found)
        return found

    return use


@pytest.mark.parametrize("held", [None, [], [".gitattributes"]])
@pytest.mark.parametrize("private", [False, True])
def test_the_folder_arrives(tmp_path, data, distill, hub, capfd, held, private):
    ours = hub(held, private=private)
    export = export_distilled(distill(data), "hf", tmp_path / "set", push="jane/toy-2", private=private)
    assert [name for name, _ in ours.asked] == ["whoami", "dataset_info", "create_repo", "upload_folder"]
    made, sent = ours.asked[2][1], ours.asked[3][1]
    assert made == {
        "repository": "jane/toy-2",
        "repo_type": "dataset",
        "private": private or None,  # None leaves it to the user's own default
        "exist_ok": True,
    }
    assert (sent["repo_id"], sent["repo_type"]) == ("jane/toy-2", "dataset")
    assert {"README.md", "grid.png", "data/train-00000-of-00001.parquet", "run/distilled.safetensors"} <= set(ours.sent)
    assert export.address == "https://huggingface.co/datasets/jane/toy-2"
    assert 'load_dataset("jane/toy-2", split="train")' in export.example
    card = ours.sent["README.md"].decode()
    assert export.example in card
    assert 'snapshot_download("jane/toy-2", repo_type="dataset") + "/run"' in card
    assert "path/to/this/folder" not in card
    assert capfd.readouterr().out == ""  # standard output is for results


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        (
            {"whoami": LocalTokenNotFoundError("Token is required")},
            "nobody is logged in .*run `hf auth login`, or set HF_",
        ),
        ({"whoami": answer(401)}, "refused .*401 of the hub.*is the login's token valid"),
        ({"whoami": answer(500)}, "refused .*500 of the hub"),
        ({"whoami": httpx2.ConnectError("[Errno 111] Connection refused")}, "cannot be reached .*Connection refused"),
        ({"dataset_info": httpx2.ReadTimeout("")}, r"cannot be reached \(ReadTimeout\)"),
    ],
)
def test_a_hub_that_cannot_be_written_to_is_told_before_anything_is_written(
    tmp_path, data, distill, hub, failures, told
):
    ours = hub(**failures)
    with pytest.raises(HubError, match=f"{told}.*nothing was written or sent") as caught:
        export_distilled(distill(data), "hf", tmp_path / "set", push="jane/toy")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()
    assert "create_repo" not in dict(ours.asked)


@pytest.mark.parametrize("place", ["create_repo", "upload_folder"])
@pytest.mark.parametrize("error", [answer(403), httpx2.ConnectError("gone"), OSError("gone")])
def test_what_could_not_be_sent_is_kept(tmp_path, data, distill, hub, place, error):
    hub(**{place: error})
    with pytest.raises(HubError, match=r"the export is complete in .*set: send it again .*`force=True`"):
        export_distilled(distill(data), "hf", tmp_path / "set", push="jane/toy")
    assert (tmp_path / "set" / "run" / "distilled.safetensors").exists()
    ours = hub([])
    export_distilled(distill(data), "hf", tmp_path / "set", push="jane/toy", force=True)
    assert ours.sent


def test_what_is_on_the_hub_is_not_written_over(tmp_path, data, distill, hub):
    ours = hub([".gitattributes", "README.md", "data/train.parquet"])
    with pytest.raises(
        ConfigError, match=r"jane/toy on the hub holds files already \(README.md, data/.*or `force=True` for"
    ):
        export_distilled(distill(data), "hf", tmp_path / "set", push="jane/toy")
    assert not (tmp_path / "set").exists()
    export_distilled(distill(data), "hf", tmp_path / "set", push="jane/toy", force=True)
    assert ours.sent


@pytest.mark.parametrize("held", [[], ["README.md"]])
@pytest.mark.parametrize("force", [False, True])
def test_what_should_be_private_is_not_sent_where_everybody_sees_it(tmp_path, data, distill, hub, held, force):
    ours = hub(held)
    with pytest.raises(ConfigError, match=r"jane/toy is on the hub already, for everybody to see: `private`"):
        export_distilled(distill(data), "hf", tmp_path / "set", push="jane/toy", private=True, force=force)
    assert not (tmp_path / "set").exists()
    assert [name for name, _ in ours.asked] == ["whoami", "dataset_info"]


@pytest.mark.parametrize("name", ["toy", "a/b/c", "jane/", "/toy", "jane/to y", "jane/toy..", ""])
def test_bad_names_are_told_without_asking(tmp_path, data, distill, hub, name):
    ours = hub()
    with pytest.raises(ConfigError, match="`push`"):
        export_distilled(distill(data), "hf", tmp_path / "set", push=name)
    assert ours.asked == []
    assert not (tmp_path / "set").exists()
