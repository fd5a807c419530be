metadata(description="Transformers on stock MicroPython, integers only.", version="0.1.0")

package("picoformer")
