"""What a model is tried and calibrated on: texts, token ids, pictures."""
