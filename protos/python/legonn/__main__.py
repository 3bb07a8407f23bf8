"""``python -m legonn`` is the command ``legonn``."""

import sys

from legonn.cli import main

sys.exit(main())
