"""Who may call, and how much: pure policy, one file a question.

Job: an access file as a table, a presented key, token or certificate as an identity, an identity
and a method as yes or no, a tenant's use as a wait. May import: ``legonn_core.errors`` and PyJWT.
No clock, no file, no transport: those are ``gateway/doorkeeper.py``'s. Start here: ``table.py``.
"""
