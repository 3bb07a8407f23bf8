"""gRPC in, gRPC out: the only room of the server that knows protobuf.

Start at ``speech.py``, the thin transport, and ``recognition.py``, the service behind every
transport; ``convert.py`` is the last place that sees messages of the wire.
"""
