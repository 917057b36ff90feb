"""What Python's readers of tar and zip files raise for damaged ones."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib

ARCHIVE_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # it is encrypted, or compressed in a way that is not known here
    MemoryError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
