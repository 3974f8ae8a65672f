"""What a host tells of itself: log lines without secrets, and counts."""
