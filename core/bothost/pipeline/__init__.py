"""The life of an event, from a verified delivery to the comment that answers it."""
