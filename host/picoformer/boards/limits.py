"""Time limits of the link, in seconds."""

from __future__ import annotations

RESEND = 1.5  # for a reply to a request that takes a board no time; then twice that, and so on
REPLY = 12.0  # without a sign of life, for such a request
FLASH = 60.0  # the same, where a board looks through its flash
LOAD = 600.0  # the same, for a model to be checked and loaded, of which a board says nothing
TOKEN = 600.0  # the same, for what a model computes: a prompt, too, takes as long as it takes
QUIET = 60.0  # between two questions whether the board still lives
STALL = 10.0  # without a word from a board that was sent weights, before it is asked
DRAIN = 0.1  # of silence, before an upload that went wrong is taken up again
CHECK_RATE = 8_000  # bytes a second that any board reads, to bound the time of a check
