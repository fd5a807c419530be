"""The code that a board must hold: device/picoformer, as files for it."""
