"""The board's integers in numpy, and how good they are."""
