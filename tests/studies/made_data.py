"""Tiny made-up files in the forms that the fetched studies read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

__all__ = ["write_face_mesh", "write_fashion_mnist", "write_minilm", "write_tokenizer"]


def write_fashion_mnist(folder: Path, *, training: int = 12, evaluation: int = 6) -> dict[str, np.ndarray]:
    """Writes the four IDX files, and gives what they hold by the files' first words, such as `train-images`."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    written = {}
    for part, rows in (("train", training), ("t10k", evaluation)):
        images = random.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        labels = np.arange(rows, dtype=np.uint8) % 10
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            # The IDX form: two zeros, the type (8: uint8), the number of axes, then their sizes.
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + values.tobytes()))
            written[f"{part}-{kind.partition('-')[0]}"] = values
    return written


def write_face_mesh(folder: Path, *, rows: int = 6) -> np.ndarray:
    """Writes a file in the model's place, and patches; gives the patches."""
    folder.mkdir(parents=True)
    (folder / "face_landmark.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    patches = np.random.default_rng(0).random((rows, 25, 25))
    np.save(folder / "lfw_subset.npy", patches)
    return patches


def write_minilm(folder: Path, *, clear: int = 1520, unclear: int = 5) -> None:
    """Writes rated sentences, their tokenizer, and a file in the weights' place.

    Of the clear sentences, which are all different, every second one is positive; one more is there twice.
    """
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    write_tokenizer(folder / "tokenizer.json", *(f"w{number}" for number in range(40)))
    lines = [f"{row}\t{-1.5 if row % 2 else 0.5}\tw{row // 40} w{row % 40}" for row in range(clear)]
    lines += [lines[0], *(f"{row}\t0.4\tw{row}" for row in range(unclear))]
    (folder / "movieReviewSnippets_GroundTruth.txt").write_text("\n".join(lines), encoding="latin-1")


def write_tokenizer(path: Path, *words: str) -> None:
    """Writes a tokenizer that knows whole words: 0 is padding, 1 a word that it does not know, then come these."""
    vocabulary = {word: number for number, word in enumerate(("[PAD]", "[UNK]", *words))}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    path.write_text(json.dumps({"version": "1.0", "pre_tokenizer": {"type": "Whitespace"}, "model": model}))
