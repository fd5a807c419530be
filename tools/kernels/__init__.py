"""The source of kernels in assembler: Python programs that write instructions.

`python -m tools.kernels` writes what lands on boards, `device/picoformer/kernels_*.py`, and beside
each family's programs a listing of it for people, `kernels.lst`; and `web/engine/kernels.wasm`,
the viper kernels as the page runs them.
"""
