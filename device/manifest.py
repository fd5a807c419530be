metadata(description="Transformers on stock MicroPython, integers only.", version="0.2.0")

package("picoformer")
