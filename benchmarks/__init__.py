"""Measurements behind make targets: ours beside somebody else's, on one machine in one run.

Nothing imports these. Each writes raw JSON for ``docs/results`` and says what was compared.
"""
