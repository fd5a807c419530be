"""The drawn pictures of the documents, docs/images/*.svg: `python -m tools.pictures`."""
