"""A Raspberry Pi Pico in this process, counted cycle by cycle; its flash's cache."""
