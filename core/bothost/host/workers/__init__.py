"""What the workers of one host say to each other, through their supervisor."""
