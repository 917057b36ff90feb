"""What mkdocs does besides its own: pages made of the code, formulas, files of the repository that pages point to.

mkdocs finds this file by `hooks` in mkdocs.yml, and its neighbors beside it.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from api_page import public_page, registries_page, settings_page
from command_page import command_page
from mathml import InlineMath, fence

ROOT = Path(__file__).parents[2]
GENERATED = {
    "commands": command_page,
    "public names": public_page,
    "registries": registries_page,
    "settings": settings_page,
}
"""What stands in a page in place of a comment `<!-- generated: NAME -->`."""
_MARK = re.compile(r"<!-- generated: ([\w ]+) -->")
_FROM_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "LICENSE": "LICENSE.txt"}
"""Pages of the site that lie at the root of the repository, and what they are called here."""
_UPWARDS = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")
_DOWNWARDS = re.compile(r"(?<=\]\()docs/")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Have formulas read."""
    config.markdown_extensions.append(InlineMath())
    math = {"name": "math", "class": "formula", "format": fence}
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [math]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in the pages of the root, and the files outside of docs/ that pages point to, so that the site is whole."""
    named = set(_FROM_ROOT)
    for file in files.documentation_pages():
        named.update(_UPWARDS.findall(file.content_string))
    for name in sorted(named):
        files.append(File.generated(config, _FROM_ROOT.get(name, name), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write what is generated, and point to files of the repository where they are in the site."""
    if page.file.src_uri in _FROM_ROOT.values():
        markdown = _DOWNWARDS.sub("", markdown)
    markdown = _UPWARDS.sub(lambda found: _FROM_ROOT.get(found[1], found[1]), markdown)
    return _MARK.sub(lambda found: GENERATED[found[1]](), markdown)
