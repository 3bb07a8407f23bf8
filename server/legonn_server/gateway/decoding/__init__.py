"""Compressed audio to samples, in processes that may die.

Job: files and streams with a header (WAV, FLAC, Ogg, WebM, MP3) become samples. FFmpeg reads them,
through PyAV, in one small process a stream: whatever a hostile file does to its reader, the gateway
and the other streams live on. ``formats.py`` says what is read, ``nursery.py`` forks the readers,
``reader.py`` is what they do, ``decoder.py`` is the gateway's side. May import:
``legonn_core.errors``; nothing of the gateway. Start here: ``decoder.py``.
"""
