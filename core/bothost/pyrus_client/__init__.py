"""Calls to Pyrus: permits, tokens, rate limits, retries, and the typed API that plugins use."""
