"""What an operator sees and does: by the page, by the command line, and by the hook that hears of failures."""
