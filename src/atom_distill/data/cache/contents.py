"""What a data set holds, whatever the order of its images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGEST_BYTES = 8


def contents_of(splits: Iterable[tuple[NDArray[Any], NDArray[Any]]], class_names: Sequence[str]) -> str:
    """Return a hash of the labeled images of each split, in any order, and of the class names.

    Copies of a published set often differ in the order of the images alone: by class in folders, by batch in archives.

    Args:
        splits: images [N, C, H, W] and labels [N] of each, maybe mapped from files.
        class_names: index = label.
    """
    whole = hashlib.sha256(json.dumps(list(class_names)).encode())
    for images, labels in splits:
        digests = np.fromiter(map(_digest, images, labels), np.uint64, len(labels))
        whole.update(np.sort(digests).tobytes())
        whole.update(b"end of split")
    return whole.hexdigest()


def _digest(image: NDArray[Any], label: np.integer[Any]) -> int:
    content = image.tobytes() + int(label).to_bytes(_DIGEST_BYTES, "little")
    return int.from_bytes(hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest(), "little")
