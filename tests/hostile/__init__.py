"""Callers who mean harm, those whom they must not disturb, and a server between them.

``make test-hostile`` runs ``run.py``: one server in a process of its own, four well-behaved live
streams throughout, and one attack after another beside them.
"""
