"""Ingestors: marginals to a memory, the first part of whatever reads them.

A decoder begins with one, and so does a module in the middle of a chain. May import: ``nn``. Start
at ``ingestor.py``; ``weighted_embedding.py`` carries gradients, ``beam_convolution.py`` stops them.
"""
