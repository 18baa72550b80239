"""How a candidate is scored: one module an objective, and the devices that measure."""
