"""tokenizer.json of Hugging Face: a module for each type of model and what they share."""
