"""Sound to log-mel frames, piece by piece.

May import: torch, torchaudio. Start at ``log_mel.py``.
"""
