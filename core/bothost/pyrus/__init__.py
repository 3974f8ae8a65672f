"""What Pyrus sends and takes, as values: no I/O, no logging, no clock."""
