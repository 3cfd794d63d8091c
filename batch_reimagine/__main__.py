"""`python -m batch_reimagine` is the same as `batch-reimagine`."""

import sys

from batch_reimagine.cli import main

sys.exit(main())
