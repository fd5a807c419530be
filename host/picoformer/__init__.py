"""picoformer on the PC: Transformers for microcontrollers with stock MicroPython.

    from picoformer import convert, Simulator
    convert("stories260K.bin", "stories.pft")
    print("".join(Simulator("stories.pft").generate("Once upon a time", 100)))
"""

__version__ = "0.1.0"

from .convert import convert
from .errors import Error
from .evaluate import evaluate
from .simulator import Simulator

__all__ = ["Error", "Simulator", "__version__", "convert", "evaluate"]
