"""Decoders: marginals in, English out.

May import: ``ingestors``, ``nn``, ``interface``. Never an encoder: that is the promise of LegoNN,
and a check holds it. Start at ``decoder.py``.
"""
