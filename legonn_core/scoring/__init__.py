"""Scores with their intervals: texts and times in, figures out; one definition for everybody.

Knows no module, no engine and no server, so the load test, which is a user, may read it too. May
import: numpy, jiwer, sacrebleu. Start at ``scores.py``; ``latency.py`` has LAAL and erasure.
"""
