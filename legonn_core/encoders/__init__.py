"""Encoders: speech, text or other marginals in, marginals over the next vocabulary out.

May import: ``ingestors``, ``nn``, ``features``, ``interface``. Never a decoder: that is the promise
of LegoNN, and a check holds it. Start at ``speech.py`` or ``text.py``; ``length.py`` sets the row
rate, ``marginal.py`` is the module in the middle of a chain.
"""
