"""Numbers and log lines; no audio and no user text in either. Start at ``metrics.py``."""
