"""Give tests a time that stands still until everything waits for it: the loop, the clock and `time.sleep`.

Nothing here may import another part of the harness or know a bot. Start reading in `loop.py`, which decides when the clock may
jump, then in `clock.py`, which the host gets.
"""
