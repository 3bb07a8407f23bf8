"""The homes of modules behind one protocol: a fake, a child process with torch, Triton servers.

May import ``legonn_core.runtime.messages``, errors, telemetry; never torch, never one another.
Start at ``protocol.py``.
"""
