"""The priority of threads that prepare what others will serve with."""

from __future__ import annotations

import os
import threading

NICENESS = 5
"""Behind the engine's own thread, but not last: at 19, on two cores with eight busy processes, a
load did not end within two minutes; and a thread that waits for a core may hold Python's lock.
"""


def be_served_later(niceness: int = NICENESS) -> None:
    """Lower this thread's priority, for good, and that of threads that it starts.

    Threads have a priority of their own on Linux; elsewhere all stay alike.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    except (AttributeError, OSError):
        return
