"""Let an operator see and change the host: the service behind page and command line, the page itself, the hooks for failures.

Nothing here decides about an event, because that is the pipeline's and the journal's part. Start reading at `service.py`.
"""
