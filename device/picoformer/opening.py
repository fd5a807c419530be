"""Loading a model file begins here: which kernels run it, and where its weights are to lie.

Where the heap grows, what is large of it gets its places before the rest of the loader comes.
"""

import gc

from . import regions
from .errors import Error


def load(model, f, path, context, weights, kernels, spare, cores):
    """Fill in `model`, a Model, from its open file; the rest are Model's arguments."""
    from . import modelfile

    kernels = modelfile.family(kernels)
    source = weights if hasattr(weights, "fill") else None
    if not source and weights not in (None, "flash", "ram", "file", "stream"):
        raise Error("weights are in 'flash', 'ram', a 'file' or a 'stream', not in %r" % weights)
    if not isinstance(spare, int) or spare < 0:
        raise Error("spare is %r, expected bytes of heap to leave free" % (spare,))
    if cores not in (1, 2):
        raise Error("cores is %r, expected 1 or 2" % (cores,))
    streamed = weights == "stream"
    if streamed:
        try:
            from .stream import able
        except ImportError:  # other boards do not have it
            raise Error("weights='stream' needs an RP2040 and its thumb kernels: leave it out")
        able(kernels, cores)
        weights = "flash"
    parts = modelfile.sections(f, source)
    mapped = None
    if weights == "flash" or kernels.BIAS and not weights:
        mapped = modelfile.mapped(f, path, parts[4], weights, kernels.BIAS)
    modelfile = None
    model._mapped = mapped
    if source:
        # With less and less of what only saves time.
        choices = ("host", 1), ("host", 2), ("host", 0)
    else:
        choices = (weights,) if weights else ("flash",) if mapped else ("ram", "file")
        choices = [(choice, 0) for choice in choices]
    for choice, ample in choices:
        last = (choice, ample) == choices[-1]
        gc.collect()
        try:
            model.weights = choice
            ram = parts[4][1] >> 2 if choice == "ram" else 0
            model.in_ram = 4 * ram
            tile = regions.TILE if choice == "file" else 0
            from . import modelfile

            held = modelfile.early(f, parts, context, ram, kernels.BIAS != 0, tile)
            modelfile = None
            if not held:
                gc.collect()
            if held is None and not last:
                continue
            regions.forget("modelfile")
            if held:
                ample = 0  # frames have their places
            room = spare if streamed or not weights else None
            from .loader import fill

            fill(model, f, parts, context, kernels, source, ample, room, held, cores, streamed)
            fill = None
            if held:  # a tokenizer's modules need not lie beside what makes steps
                regions.forget("loader")
                gc.collect()
                from .reader import read

                model.tokenizer = read(f, parts[3], model.vocab, held[2][2])
                read = None
                regions.forget("reader")
                regions.reread(f, parts[3], held[2][2])
            return
        except ImportError as e:
            raise Error(
                "this model needs more of the runtime: picoformer update sends it (%s)" % e
            )
        except MemoryError as e:
            # What there is of the model goes before it is made anew.
            model._encoder = model._body = model._head = model.tokenizer = model._tokens = None
            held = None
            if last:
                if "piece" in str(e):
                    raise
                from .loader import left

                raise MemoryError("%s; without the model %s" % (e, left()))
