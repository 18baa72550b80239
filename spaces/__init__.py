"""What may be chosen: one module a dimension, with its choices, when they are valid, and how one is applied."""
