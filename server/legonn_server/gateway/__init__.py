"""gRPC in, gRPC out: the only room of the server that knows protobuf.

Start at ``speech.py``; ``convert.py`` is the last place that sees messages of the wire.
"""
