"""`python -m bothost` is the command `bothost`."""

import sys

from bothost.cli import main

sys.exit(main())
