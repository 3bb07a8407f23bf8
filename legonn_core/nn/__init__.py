"""Layers that hold weights and nothing else; memory goes in as an argument and comes out as a result.

May import: torch, and nothing else of this project. Start at ``transformer.py``.
"""
