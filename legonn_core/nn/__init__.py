"""Layers that hold weights and nothing else; memory comes in as an argument, goes out as a result.

May import: torch, and nothing else of this project. Start at ``transformer.py``.
"""
