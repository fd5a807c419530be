"""From a float graph to a model file: quantize, lay out, write."""
