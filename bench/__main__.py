"""`python -m bench` measures the inline path; further measurements are modules beside it."""

import sys

from bench.inline import main

sys.exit(main(sys.argv[1:]))
