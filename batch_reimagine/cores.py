"""How many of the machine's cores this process may use."""

import os

#: of the CPU set, where the system knows one: a container of 2 cores on a machine of 64 has 2
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
