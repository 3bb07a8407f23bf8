"""Encoders: speech or text in, marginals over the English vocabulary out.

May import: ``nn``, ``features``, ``interface``. Never a decoder: that is the promise of LegoNN,
and a check holds it. Start at ``speech.py`` or ``text.py``; ``length.py`` sets the row rate.
"""
