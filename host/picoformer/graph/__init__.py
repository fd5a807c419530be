"""The float graph that every checkpoint becomes, and what runs it in floating point."""
