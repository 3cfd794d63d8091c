"""Programs that judge our files and are not ours: ExifTool, exiv2 and the like."""

import os
import shutil

import pytest


def oracle(name: str) -> str:
    """The path of a program; without it the test is skipped, or fails where it must be there."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("REQUIRE_ORACLES") == "1":
            pytest.fail(f"{reason}, and REQUIRE_ORACLES is 1")
        pytest.skip(reason)
    return path
