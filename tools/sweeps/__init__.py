"""Many files, many requests: each is tried on PC and board, which must agree."""
