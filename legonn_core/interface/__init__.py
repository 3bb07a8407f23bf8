"""What an encoder and a decoder must agree on, and nothing else.

Job: vocabulary, marginals, their bytes, the contract, the card of a module.
May import: ``legonn_core.errors``, numpy, the standard library, tomli-w; never torch.
Start here: ``vocabulary.py``, then ``marginals.py``.
"""
