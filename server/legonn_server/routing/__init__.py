"""Which modules serve whom, and who is let in: pure decisions, no I/O.

May import ``legonn_core.errors`` and ``legonn_core.runtime.messages``. Start at ``routes.py``.
"""
