"""Everything an operator sees and does: the service behind page and command line, the page itself, the hook for failures.

Nothing here decides over an event: that is the pipeline's and the journal's part. Start reading at `service.py`.
"""
