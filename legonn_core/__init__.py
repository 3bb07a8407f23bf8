"""The method: encoders and decoders that meet only at marginal distributions over a vocabulary.

Job: everything that can be said without a network or an event loop — data that crosses, searches,
networks, modules on disk, engines that run them, training, evaluation.
May import: numpy and the standard library; torch only below ``features``, ``nn``, ``ingestors``,
``encoders``, ``decoders``, ``modules``, ``runtime``, ``train`` and ``evaluate``.
Start here: ``interface/marginals.py`` (what crosses), then ``search/prefix.py`` (how it is read).
"""
