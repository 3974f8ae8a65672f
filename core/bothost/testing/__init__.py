"""What plugin authors test with; nothing in the package imports it."""
