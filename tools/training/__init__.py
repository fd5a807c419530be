"""The models in models/: what each is trained on, how, and what they share.

Tools, each of one model or two, and what only they need:

    stories      a story writer: llama2c (its teacher, sampled from), llama (the model)
    text         classifiers of sentences: text_tasks (labels, sizes, data)
    translate    English to French
    facts        answers to questions: made_up_facts (what it is trained on)
    vision       a classifier of pictures
    motions      a classifier of what a wrist does
    digits       a classifier of spoken words: spoken (recordings, what is made of them)

What they share:

    stages       the command line: stages that pick up where they stopped
    data         parts that a hash decides, batches of rows of about one length
    pieces       WordPiece tokenizers
    loop         the training itself, which goes on from a checkpoint
    scores       shares with their standard error, confusions
    folders      models of transformers, and the folders that they are exported to
    files        files that are whole or not there
"""

import os

# Before the libraries are imported. Nothing is downloaded while a tool runs.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
