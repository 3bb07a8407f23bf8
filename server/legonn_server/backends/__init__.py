"""The homes of modules behind one protocol: a fake that ships, and a child process with torch.

May import ``legonn_core.runtime.messages``, errors, telemetry; never torch, never one another.
Start at ``protocol.py``.
"""
