"""The picture of an evaluation, for programs that import it from here.

`picoformer` itself has it, too.
"""

from .simulate.plot import plot

__all__ = ["plot"]
