"""What a model cannot be put through, and why: asked once, before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from litefront.spaces.base_model import BaseModel, ModelFormat, load_keras
from litefront.spaces.channel_pruning import channel_groups
from litefront.spaces.clustering import clustering_refusal
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.tflite.pruning import CHANNEL_REFUSAL
from litefront.spaces.training.prunable_weights import pruning_refusal
from litefront.spaces.training.quantization_aware_training import quantization_aware_refusal

__all__ = ["ModelRefusals"]

_NOT_KERAS = {
    ModelFormat.TFLITE: "needs a Keras model to train further, and this model came as a `.tflite`",
    ModelFormat.SAVED_MODEL: "needs a Keras model to train further, and this model came as a SavedModel",
}


@dataclass(frozen=True)
class ModelRefusals:
    """Why a model cannot have what a study may ask for; what it can have is not in it.

    Attributes:
        pruning: By pattern of sparsity.
        clustering: Of weights; None if it can be.
        quantization_aware: Training with quantization in view; None if it can be.
        left_whole: Layers that cannot lose channels, each with the reason.
    """

    pruning: Mapping[str, str] = field(default_factory=dict)
    clustering: str | None = None
    quantization_aware: str | None = None
    left_whole: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: BaseModel) -> ModelRefusals:
        """Looks the model over."""
        if model.format is ModelFormat.TFLITE:
            return cls._of_tflite()
        if model.format is ModelFormat.SAVED_MODEL:
            reason = _NOT_KERAS[ModelFormat.SAVED_MODEL]
            pruning = {pattern.value: f"sparsity other than 0 {reason}" for pattern in Pattern}
            return cls(pruning, f"clustering {reason}", f"qat_int8 {reason}")
        return cls._of_keras(load_keras(model))

    @classmethod
    def _of_tflite(cls) -> ModelRefusals:
        reason = _NOT_KERAS[ModelFormat.TFLITE]
        return cls(
            {Pattern.CHANNEL.value: CHANNEL_REFUSAL},
            f"clustering {reason}",
            f"qat_int8 {reason}",
        )

    @classmethod
    def _of_keras(cls, model: Any) -> ModelRefusals:
        of_zeros = (Sparsity(0.5), Sparsity(0.5, Pattern.BLOCK), Sparsity(0.5, Pattern.N_OF_M, 4))
        pruning = {
            sparsity.pattern.value: reason for sparsity in of_zeros if (reason := pruning_refusal(model, sparsity))
        }
        channels = channel_groups(model)
        if not channels.groups:
            pruning[Pattern.CHANNEL.value] = "no channel of the model can be removed: " + "; ".join(
                f"{layer}: {reason}" for layer, reason in list(channels.whole.items())[:3]
            )
        return cls(
            pruning,
            clustering=clustering_refusal(model),
            quantization_aware=quantization_aware_refusal(model),
            left_whole=dict(channels.whole),
        )

    def quantization(self) -> dict[str, str]:
        """The refusals of quantizations, by name."""
        return {} if self.quantization_aware is None else {Quantization.QAT_INT8.value: self.quantization_aware}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> ModelRefusals:
        """Reads what `to_json` wrote."""
        return cls(**facts)
