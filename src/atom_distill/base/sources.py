"""The identity of this package's code: what one version computes, another may not continue."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


@functools.cache
def sources_digest() -> str:
    """Return a digest of the package's Python files, 12 hexadecimal digits.

    Not a commit: there may be no repository, and most commits do not change the package.
    """
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
