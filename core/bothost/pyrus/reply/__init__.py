"""What is said to Pyrus: replies, checked when they are made."""
