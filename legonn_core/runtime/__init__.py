"""Runs modules for many streams at once; the same code in a child process and behind Triton.

May import: ``modules`` and below. ``messages`` and ``plan`` are free of torch, so that a gateway can
import them. Start at ``process.py`` for the loop, ``messages.py`` for what crosses.
"""
