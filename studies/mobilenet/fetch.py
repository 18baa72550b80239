"""Gets Fashion-MNIST from Debian's package `dataset-fashion-mnist`, without installing it.

python -m litefront.studies.mobilenet.fetch
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from litefront.studies.fetching import debian_package, fetch
from litefront.studies.packaged_data import fetched_folder

__all__ = ["fetch_fashion_mnist"]


def fetch_fashion_mnist() -> Path:
    """Fetches the files and gives the folder that they are in."""
    target = fetched_folder("fashion-mnist")
    with tempfile.TemporaryDirectory() as scratch:
        root = debian_package("dataset-fashion-mnist", Path(scratch))
        target.mkdir(parents=True, exist_ok=True)
        for file in (root / "usr/share/datasets/fashion-mnist").glob("*.gz"):
            shutil.copy(file, target)
    return target


if __name__ == "__main__":
    sys.exit(fetch(fetch_fashion_mnist))
