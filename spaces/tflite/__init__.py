"""What is read from a `.tflite` file, and what is done to one: no Keras model, no training."""
