"""Modules on disk: cards, weights, golden outputs, and the checks before a module may serve.

May import: ``encoders``, ``decoders``, ``nn``, ``features``, ``interface``, ``search``. Start at
``registry.py``.
"""
