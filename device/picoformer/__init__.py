"""picoformer on a board: a quantized Transformer on stock MicroPython.

    from picoformer import Model
    for piece in Model("model.pft").generate("Once upon a time", 100):
        print(piece, end="")
"""

from .errors import Error
from .model import Model

__version__ = "0.2.0"
__all__ = ("Error", "Model")
