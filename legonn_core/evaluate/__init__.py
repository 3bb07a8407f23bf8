"""Evaluation: what modules are worth, alone and exchanged. Nothing in service imports it.

May import everything in ``legonn_core``. Start at ``command.py``, which is ``legonn evaluate``.
"""
