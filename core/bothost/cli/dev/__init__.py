"""The author's loop: `bothost dev` serves the bots beside a fake Pyrus with a page, and takes up every saved file.

Nothing here runs in service: the host itself is `host`, the fake Pyrus is `testing.fake_pyrus`. Start reading in `session.py`.
"""
