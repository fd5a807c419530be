"""What a model will take on a board, before it is there."""
