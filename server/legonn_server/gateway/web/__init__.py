"""The web door: the captions page, its WebSocket bridge, and calls that OpenAI's clients make.

Start at ``site.py``. Nothing here decides about sessions: ``bridge.py`` and ``transcriptions.py``
hand requests of the wire contract to the services behind gRPC. The page itself is in ``page/``.
"""
