"""legonn_loadtest: a user of a running server, who measures what it gives.

Job: ``python -m legonn_loadtest.quality`` sends evaluation sets through a server and scores its
answers. May import: ``legonn``, numpy, jiwer, sacrebleu; never the server or ``legonn_core``.
Start here: ``quality.py``.
"""
