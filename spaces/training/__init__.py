"""What trains a Keras model further: pruning, clusters, quantization in view, and how all of it learns."""
