"""Time that stands still until everybody waits for it: loop, clock, sleep."""
