"""A Raspberry Pi Pico in this process, counted cycle by cycle.

    rp2040       the board: it boots the official firmware and runs scripts
    filesystem   what is in its flash
    xip          the cache of its flash
    errors       what goes wrong with it
"""
