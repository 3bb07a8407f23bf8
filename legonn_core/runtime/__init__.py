"""Runs modules for many streams at once; the same code in a child process and behind Triton.

May import: ``modules`` and below. ``messages`` is free of torch, so that a gateway can import it.
Start at ``process.py`` for the loop, ``messages.py`` for what crosses.
"""
