"""Kills, faults and power cuts at every call that reaches the disk; `python -m tests.torture`."""
