"""Hold the API that plugin authors write against, and find and load their plugins.

Nothing here runs a handler or does I/O beyond importing plugins and reading their settings. Start reading in `api.py` for the
authors' side and in `loading.py` for the host's.
"""
