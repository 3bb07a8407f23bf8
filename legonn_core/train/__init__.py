"""Training: data, losses, loops and the recipes' reader. Nothing in service imports it.

May import everything in ``legonn_core``. Start at ``command.py``, which runs ``recipes/*.toml``.
"""
