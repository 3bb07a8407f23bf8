"""Reading text out of marginals: pure functions of arrays, with the search state as a value.

Job: CTC prefix search (partials), joint CTC/decoder beam search (finals), the stable part of a
partial, forced alignment (word times).
May import: ``legonn_core.interface``, ``legonn_core.errors``, numpy; never torch, never a clock.
Start here: ``hypothesis.py``, then ``prefix.py``.
"""
