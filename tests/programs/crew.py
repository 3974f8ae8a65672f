"""A supervisor with workers of tests/programs/crew_worker.py: COUNT PORT WORKER-ARGUMENTS…"""

import logging
import os
import socket
import sys

from bothost.clock import SystemClock
from bothost.host.supervisor import Supervisor, WorkerGroup
from bothost.host.systemd import Notifier

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
public = socket.socket(fileno=int(sys.argv[2]))
operator = socket.create_server(("127.0.0.1", 0))
worker = os.path.join(os.path.dirname(__file__), "crew_worker.py")
command = [sys.executable, worker, *sys.argv[3:]]
patience_s = 0.3 if "deaf" in sys.argv else 10.0
crew = WorkerGroup(int(sys.argv[1]), command, {"public": [public], "operator": [operator]}, 0.1, patience_s)
sys.exit(Supervisor(crew, SystemClock(), Notifier.take(os.environ)).run())
