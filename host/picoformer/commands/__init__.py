"""The `picoformer` command."""
