"""Training: from data to a checkpoint that is converted for a board."""
