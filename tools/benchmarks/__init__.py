"""Speed and memory, measured; what README, docs/speed.md and the cards say of it."""
