"""A host with the bots.ini that is named; what `bothost serve` runs."""

import sys

from bothost import config
from bothost.errors import ConfigError
from bothost.supervisor import serve

try:
    sys.exit(serve(config.read(sys.argv[sys.argv.index("--config") + 1])))
except ConfigError as error:
    sys.exit(str(error))
