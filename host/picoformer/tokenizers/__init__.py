"""Tokenizer files of all forms, and the tokenizer section that they become."""
