"""Turn Pyrus's deliveries, tasks, replies and API requests into values and back.

Nothing here does I/O, logs or asks the time. Start with `envelope.py`, which turns a delivery's body into an event's typed
view, and with `reply/reply.py`, which turns an author's answer into Pyrus's comment request.
"""
