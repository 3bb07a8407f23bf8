"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is not a failing test: time is bounded once, by pytest-timeout.
settings.register_profile("legonn", deadline=None, print_blob=True)
settings.load_profile("legonn")
