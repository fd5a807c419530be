"""The models in models/: what each is trained on, how, and what they share.

Tools, each of one model or two, and what only they need:

    stories      a story writer: llama2c (its teacher, sampled from)
    text         classifiers of sentences: text_tasks (labels, sizes, data)
    translate    English to French
    facts        answers to questions: made_up_facts (what it is trained on)
    vision       a classifier of pictures
    motions      a classifier of what a wrist does
    digits       a classifier of spoken words: spoken (recordings, what is made of them)

What they share, besides picoformer.training, which `picoformer train` has as well (the loop,
batches, pieces, scores, files):

    stages       the command line: stages that pick up where they stopped
    scores       right answers and confusions of classifiers
    folders      models of transformers
    files        the data's files, parts for `picoformer eval`
"""

import os

# Before the libraries are imported. Nothing is downloaded while a tool runs.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
