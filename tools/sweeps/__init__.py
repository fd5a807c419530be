"""Many files, many requests: each is tried on PC and board, which must agree.

    fuzz             mutated files: small_models, changed by mutations, tried on_pc and
                     on_micropython as trials says; checkpoints, changed for the importers
    soak             requests of mixed kinds to an emulated board
    support          the tests' random checkpoints, which both start from
"""
