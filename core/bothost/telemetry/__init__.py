"""Write log lines without secrets, and count what is measured.

Nothing here decides anything or knows what an event is. Start reading in `logs.py`.
"""
