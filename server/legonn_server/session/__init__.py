"""What a stream does, decided without I/O, clock or randomness.

May import ``legonn_core.errors``, ``legonn_core.runtime.messages`` and numpy. Start at
``machine.py``; ``table.py`` says which event is allowed when.
"""
