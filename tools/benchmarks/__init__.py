"""Speed and memory, measured; what README, docs/speed.md and the cards say of it.

Tools:

    kernels      cycles of every kernel (kernel_cases) on the emulated Pico
    pico         a model on the emulated Pico
    unix         a model on the unix port
    flash        misses of the flash's cache
    link         the serial link
    memory       what the runtime's code takes of a heap, and whether plans hold
    documents    all of it, into docs/speed.json, and from that the page and the sections

What they share:

    inputs       what models are given
    profile      where the time of a token goes
    figures      averages, tables, JSON
    plots        pictures
    speed_page, summaries, tables    the documents' text
"""
