"""`python -m legonn_server` is `legonn serve`."""

import sys

from legonn_server.command import main

sys.exit(main())
