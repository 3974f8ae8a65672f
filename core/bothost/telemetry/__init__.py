"""Writes log lines without secrets, and counts what is measured.

Nothing here decides anything or knows what an event is. Start reading in `logs.py`.
"""
