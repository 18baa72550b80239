"""Fine-tuning: how a model is trained further after something was taken from it.

Everything that trains further does so here, on training data alone: evaluation rows are not among what these functions
can be given by the stages, and early stopping watches rows that it holds back from the training data. Models of
tf_keras and of Keras 3 are trained alike: the same rows in the same order, the same optimizer, the same loss.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.errors import InputError
from litefront.spaces.rows import Rows, row_count, take_rows
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow, seed_everything
from litefront.spaces.training.training_watch import TrainingWatch

__all__ = ["FineTuning", "TrainingData", "fine_tune", "keras_of"]

MOST_KEPT_BYTES = 1 << 30
"""A teacher's answers up to this size are kept for all epochs; larger ones are asked for anew in each."""


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained further on.

    Attributes:
        inputs: The rows that it takes.
        labels: What it should answer, shape `(rows, ...)`, or that of each output by its name; None where it learns
            from a teacher alone.
        loss: A Keras loss, by name or as a function.
    """

    inputs: Rows
    labels: Rows | None
    loss: str | Callable[..., Any]


@dataclass(frozen=True)
class FineTuning:
    """How a model is trained further after something was taken from it.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Rows a training step.
        learning_rate: Of Adam, at the start; it falls to zero along a cosine.
        seed: Of all training: the base model's initial weights, the shuffling, and whatever is random in the model.
        continued_epochs: None prunes every sparsity from the base model. A number prunes it from the model of the next
            lower sparsity of the study's space instead, in that many epochs; the lowest still starts from the base.
        distillation: Share of the loss that comes from the float model's answers, in [0, 1]; the rest comes from the
            labels, so that 1 needs none.
        temperature: What logits are divided by before those answers are compared; above 1 the small probabilities
            count for more.
        validation_share: Share of the training rows, in [0, 1), that is held back and watched: after each epoch the
            loss on them is taken, and the weights of the best epoch are what is kept. 0 trains on all rows, and keeps
            the weights of the last step.
        patience: With rows held back, epochs without a better loss after which training stops.
        max_minutes: Time limit of one training, in minutes; None for none. Training stops at it, and what it gives
            then depends on how fast the machine was. A pruning schedule is never left half-way: if it has not ended by
            then, the candidate fails with that reason.
    """

    epochs: int = 2
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    continued_epochs: int | None = None
    distillation: float = 0.0
    temperature: float = 2.0
    validation_share: float = 0.0
    patience: int = 2
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ValueError(f"`epochs >= 1`, `batch_size >= 1` and `learning_rate > 0` must hold, but got {self}.")
        if self.continued_epochs is not None and self.continued_epochs < 1:
            raise ValueError(f"`continued_epochs` must be None or at least 1, but got {self.continued_epochs}.")
        if not 0 <= self.distillation <= 1:
            raise ValueError(f"`distillation` must lie between 0 and 1, but got {self.distillation}.")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"`temperature` must be above 0, but got {self.temperature}.")
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"`validation_share` must be at least 0 and below 1, but got {self.validation_share}.")
        if self.patience < 1:
            raise ValueError(f"`patience` must be at least 1, but got {self.patience}.")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ValueError(f"`max_minutes` must be None or above 0, but got {self.max_minutes}.")

    def continued(self) -> FineTuning:
        """The fine-tuning of a model that is pruned already."""
        assert self.continued_epochs is not None, "only a task that says so continues"
        return replace(self, epochs=self.continued_epochs)

    def held_back(self, rows: int) -> int:
        """How many of so many training rows are watched, not trained on.

        Raises:
            InputError: If rows are to be held back and there are not two.
        """
        if not self.validation_share:
            return 0
        if rows < 2:
            raise InputError(f"Early stopping needs at least 2 training rows, to hold one back, but got {rows}.")
        return min(max(1, round(rows * self.validation_share)), rows - 1)

    def steps(self, rows: int) -> int:
        """Training steps that so many training rows give."""
        return math.ceil((rows - self.held_back(rows)) / self.batch_size) * self.epochs


def keras_of(model: Any) -> ModuleType:
    """The Keras that a model belongs to: tf_keras or Keras 3.

    Raises:
        InputError: If it is a model of neither.
    """
    keras = import_keras()
    if isinstance(model, keras.Model):
        return keras
    import keras as keras3

    if isinstance(model, keras3.Model):
        return keras3  # type: ignore[no-any-return]
    raise InputError(f"A model that is trained further must be one of tf_keras or Keras 3, but got {type(model)!r}.")


def fine_tune(
    model: Any,
    data: TrainingData,
    settings: FineTuning,
    *,
    teacher: Any = None,
    epochs: int | None = None,
    callbacks: Sequence[Any] = (),
    required_steps: int = 0,
) -> None:
    """Trains a model further, in place.

    A seed gives the same weights again, unless the time limit cut the training off. Layers that are frozen stay so, and
    batch normalisation behaves as in Keras: a trainable one follows the batches.

    Args:
        model: The tf_keras or Keras 3 model.
        data: What it is trained on.
        settings: How.
        teacher: The float model, whose answers are learned too where the settings say so. It is asked as in use
            (dropout off), on the rows as they are, once for all epochs if its answers are not too large.
        epochs: Passes over the data; by default those of the settings.
        callbacks: Keras callbacks that take part.
        required_steps: Steps that must have been trained before the training may stop early, or an epoch may count as
            the best: the end of a schedule.

    Raises:
        CandidateError: If the time limit came before the required steps.
        InputError: If there is nothing to learn from.
    """
    keras = keras_of(model)
    settings = replace(settings, epochs=epochs or settings.epochs)
    rows = row_count(data.inputs)
    # Held-back rows are picked before anything is trained, so that the same rows are watched whatever is trained.
    order = np.random.default_rng(settings.seed).permutation(rows)
    watched, trained = np.split(order, [settings.held_back(rows)])
    watch = TrainingWatch(
        model,
        patience=settings.patience if len(watched) else None,
        max_minutes=settings.max_minutes,
        required_steps=required_steps,
    )
    _seed(model, keras, settings.seed)
    targets = _targets(data, settings, teacher, keras)
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps(rows))
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=targets.loss, jit_compile=False)
    model.fit(
        _batches(data.inputs, targets, np.sort(trained), settings, shuffled=True),
        epochs=settings.epochs,
        validation_data=_batches(data.inputs, targets, watched, settings, shuffled=False) if len(watched) else None,
        # The watch comes last: what it keeps as the best is what the others have made of the weights by then.
        callbacks=[*callbacks, watch.callback(keras)],
        shuffle=False,  # the batches are shuffled already
        verbose=0,
    )
    watch.restore_best()


def _seed(model: Any, keras: ModuleType, seed: int) -> None:
    """Seeds all that is random; the layers of Keras 3 carry a state of their own, from when they were made."""
    seed_everything(seed)
    if keras is not import_keras():
        keras.utils.set_random_seed(seed)
        states = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
        for number, state in enumerate(states):
            state.assign([seed + number, 0])


@dataclass(frozen=True)
class _Targets:
    """What is learned.

    Attributes:
        of: Gives the target, or an array an output, of some rows by their numbers.
        loss: The Keras loss that compares with it, or one an output.
    """

    of: Callable[[NDArray[np.integer[Any]]], Any]
    loss: Any


def _targets(data: TrainingData, settings: FineTuning, teacher: Any, keras: ModuleType) -> _Targets:
    labels = data.labels
    if labels is None and settings.distillation < 1:
        raise InputError("Training data without labels needs `distillation` to be 1, so that the float model teaches.")
    if labels is not None and not settings.distillation:
        return _Targets(functools.partial(take_rows, labels), data.loss)
    assert teacher is not None, "the stages hand the float model in where the settings ask for it"
    from litefront.spaces.training.distillation import distillation_loss, output_kinds

    tf = import_tensorflow()
    answers = _Answers(teacher, data.inputs, settings.batch_size)
    kinds = output_kinds(teacher)
    if settings.distillation == 1:
        labels = None
    elif len(kinds) > 1 or isinstance(labels, Mapping):
        raise InputError(f"A model of several outputs needs `distillation` to be 0 or 1, but got {settings}.")

    def loss_of(kind: str, answer: NDArray[Any]) -> Any:
        return distillation_loss(
            kind,
            share=settings.distillation,
            temperature=settings.temperature,
            answer_shape=answer.shape[1:],
            label_loss=None if labels is None else keras.losses.get(data.loss),
            label_shape=None if labels is None else labels.shape[1:],
            label_dtype="float32" if labels is None or labels.dtype.kind == "f" else labels.dtype.name,
        )

    def pack(answer: NDArray[Any], picked: NDArray[np.integer[Any]]) -> NDArray[Any]:
        flat = [answer.reshape(len(answer), -1)]
        if labels is not None:
            flat.append(labels[picked].reshape(len(answer), -1))
        return np.concatenate(flat, axis=1, dtype=np.float32, casting="unsafe")

    first = answers.of(np.arange(1))
    losses = [loss_of(kind, answer) for kind, answer in zip(kinds, tf.nest.flatten(first), strict=True)]
    return _Targets(
        lambda picked: tf.nest.map_structure(lambda answer: pack(answer, picked), answers.of(picked)),
        tf.nest.pack_sequence_as(first, losses),
    )


class _Answers:
    """A teacher's answers to rows; kept if all of them are small enough.

    Args:
        teacher: The float model.
        inputs: All rows.
        batch_size: Rows a call.
    """

    def __init__(self, teacher: Any, inputs: Rows, batch_size: int) -> None:
        self._tf = import_tensorflow()
        self._teacher, self._inputs = teacher, inputs
        rows = row_count(inputs)
        row_bytes = sum(array.nbytes for array in self._tf.nest.flatten(self._ask(np.arange(1))))
        self._kept: Any = None
        if rows * row_bytes <= MOST_KEPT_BYTES:
            groups = [self._ask(group) for group in np.split(np.arange(rows), range(batch_size, rows, batch_size))]
            self._kept = self._tf.nest.map_structure(lambda *parts: np.concatenate(parts), *groups)

    def of(self, picked: NDArray[np.integer[Any]]) -> Any:
        """The answers to some rows: an array, or a list or mapping of them as the model has its outputs."""
        if self._kept is None:
            return self._ask(picked)
        return self._tf.nest.map_structure(lambda answers: answers[picked], self._kept)

    def _ask(self, picked: NDArray[np.integer[Any]]) -> Any:
        given = self._teacher.predict_on_batch(take_rows(self._inputs, picked))
        # A list is one value to tf.data; a tuple is a value for each output.
        return self._tf.nest.map_structure(np.asarray, tuple(given) if isinstance(given, list) else given)


def _batches(
    inputs: Rows, targets: _Targets, rows: NDArray[np.integer[Any]], settings: FineTuning, *, shuffled: bool
) -> Any:
    """The rows and targets as a `tf.data.Dataset` of batches, in another order each epoch if shuffled.

    Made row by row while training, so that nothing is copied as a whole.
    """
    tf = import_tensorflow()
    shuffle = np.random.default_rng(settings.seed)

    def generate() -> Iterator[Any]:
        order = shuffle.permutation(rows) if shuffled else rows
        for start in range(0, len(order), settings.batch_size):
            picked = order[start : start + settings.batch_size]
            yield take_rows(inputs, picked), targets.of(picked)

    def spec(array: NDArray[Any]) -> Any:
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    first = rows[:1]
    signature = tf.nest.map_structure(spec, (take_rows(inputs, first), targets.of(first)))
    batches = tf.data.Dataset.from_generator(generate, output_signature=signature)
    count = math.ceil(len(rows) / settings.batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(count)).prefetch(1)
