"""The models in models/: what each is trained on, how, and what they share."""
