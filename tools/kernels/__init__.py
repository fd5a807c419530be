"""The source of kernels in assembler: Python programs that write instructions.

`python -m tools.kernels` writes what lands on boards, `device/picoformer/kernels_dsp.py`, and a
listing of it for people, `tools/kernels/dsp.lst`.
"""
