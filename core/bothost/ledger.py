"""What this process knows of events by heart: key → live entry. (shape agreed with dispatch; see runs.py)"""
