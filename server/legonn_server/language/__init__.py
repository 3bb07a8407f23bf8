"""What is done to text around the models: terms that are kept, words that are masked or left out.

May import ``legonn_core.runtime.messages`` and errors; no clock, no I/O. Start at ``glossary.py``.
"""
