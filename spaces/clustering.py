"""Weight clustering: how many distinct values the weights of a tensor may take.

A tensor of few values deflates well. The file as stored stays as large, and calls take as long.

Models of tf_keras are clustered by `tensorflow-model-optimization`; those of Keras 3, which it does not take, by
k-means and training with shared values (Han, Mao and Dally, "Deep Compression", arXiv 1510.00149). What can be
clustered is the same in both: the kernels of dense layers and convolutions but depthwise ones, and embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from litefront.spaces.dimension import Capabilities, Dimension
from litefront.spaces.errors import CandidateError
from litefront.spaces.tensorflow_environment import import_keras, seed_everything
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData, fine_tune, keras_of
from litefront.spaces.training.shared_values import SharedValues, k_means

__all__ = ["CLUSTERS", "cluster", "clusterable_layers", "clustering_refusal"]

_KERNELS = {
    **dict.fromkeys(("Dense", "Conv1D", "Conv2D", "Conv3D"), "kernel"),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), "kernel"),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), "pointwise_kernel"),
    "Embedding": "embeddings",
}


def clusterable_layers(model: Any) -> dict[str, Any]:
    """The weights that can be clustered, by the name of their layer, those of nested models too; not frozen ones."""
    keras = keras_of(model)
    found: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= clusterable_layers(layer)
        kind = type(layer).__name__
        if kind in _KERNELS and type(layer) is getattr(keras.layers, kind) and layer.trainable:
            found[layer.name] = getattr(layer, _KERNELS[kind])
    return found


def clustering_refusal(model: Any) -> str | None:
    """Why weights cannot be clustered, or None if those of some layer can."""
    if clusterable_layers(model):
        return None
    return "the model has no dense layer, convolution or embedding that is trainable, whose weights could be clustered"


def cluster(
    model: Any,
    clusters: int,
    data: TrainingData,
    fine_tuning: FineTuning,
    *,
    teacher: Any = None,
    preserve_sparsity: bool,
) -> Any:
    """Has each weight tensor take few distinct values, while fine-tuning the model.

    Args:
        model: The trained, perhaps pruned, tf_keras or Keras 3 model; its layers are taken over, so hand in a copy
            that nothing else uses.
        clusters: Distinct values of a tensor, at least 2. Tensors of fewer weights stay as they are.
        data: What it is trained on.
        fine_tuning: How to train.
        teacher: The float model, for distillation.
        preserve_sparsity: Whether weights that are zero stay zero; zero is then a value beside the others.

    Returns:
        The clustered model without the clustering wrappers.

    Raises:
        CandidateError: If nothing can be clustered, or a tensor ended with more values, or fewer zeros.
    """
    if refusal := clustering_refusal(model):
        raise CandidateError(refusal)
    keras = keras_of(model)
    found = clusterable_layers(model)
    chosen = [name for name, weight in found.items() if np.asarray(weight).size > clusters]
    zeros = {name: int(np.sum(np.asarray(found[name]) == 0)) for name in chosen} if preserve_sparsity else {}
    if keras is import_keras():
        clustered = _cluster_tf_keras(model, clusters, chosen, data, fine_tuning, teacher, preserve_sparsity)
    else:
        weights = [found[name] for name in chosen]
        for weight in weights:
            weight.assign(k_means(np.asarray(weight), clusters, zeros_stay=preserve_sparsity))
        held = SharedValues(weights, zeros_only=False, zeros_stay=preserve_sparsity)
        fine_tune(model, data, fine_tuning, teacher=teacher, callbacks=[held.callback(keras)])
        clustered = model
    _check_values(clustered, clusters, chosen, zeros)
    keras.backend.clear_session()
    return clustered


def _cluster_tf_keras(
    model: Any,
    clusters: int,
    chosen: list[str],
    data: TrainingData,
    fine_tuning: FineTuning,
    teacher: Any,
    preserve_sparsity: bool,
) -> Any:
    keras = import_keras()
    seed_everything(fine_tuning.seed)  # where the centres start is drawn at random
    from tensorflow_model_optimization.python.core.clustering.keras import cluster as stripping
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_config import CentroidInitialization
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as toolkit

    def wrap(layer: Any) -> Any:
        if hasattr(layer, "layers"):
            return keras.models.clone_model(layer, clone_function=wrap)
        if layer.name not in chosen:
            return layer
        sparse = preserve_sparsity and bool(np.any(np.asarray(_kernel_of(layer)) == 0))
        return toolkit.cluster_weights(
            layer,
            # The toolkit counts the zero among the clusters.
            number_of_clusters=clusters + sparse,
            cluster_centroids_init=CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=sparse,
        )

    wrapped = keras.models.clone_model(model, clone_function=wrap)
    fine_tune(wrapped, data, fine_tuning, teacher=teacher)
    return stripping.strip_clustering(wrapped)


def _kernel_of(layer: Any) -> Any:
    return getattr(layer, _KERNELS[type(layer).__name__])


def _check_values(model: Any, clusters: int, chosen: list[str], zeros: dict[str, int]) -> None:
    found = clusterable_layers(model)
    for name in chosen:
        values = np.asarray(found[name])
        if zeros.get(name, 0) > np.count_nonzero(values == 0):
            raise CandidateError(f"clustering was to keep {zeros[name]} zeros of layer {name}, and lost some of them")
        distinct = np.unique(values[values != 0] if zeros.get(name) else values).size
        if distinct > clusters:
            raise CandidateError(f"clustering to {clusters} values ended at {distinct} in layer {name}")


def _parse(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or value == 1:
        raise ValueError(f"`clusters` must be 0 for none, or a whole number of at least 2, but got {value!r}.")
    return value


def _refusal(clusters: int, capabilities: Capabilities) -> str | None:
    return capabilities.clustering_refusal if clusters else None


CLUSTERS = Dimension("clusters", default=0, parse=_parse, refusal=_refusal)
