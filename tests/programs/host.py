"""A host with the bots.ini that is named; what `bothost serve` runs."""

import sys

from bothost.supervisor import serve

sys.exit(serve(sys.argv[sys.argv.index("--config") + 1]))
