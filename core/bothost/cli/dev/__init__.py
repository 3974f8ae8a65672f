"""Serve the bots for their author by `bothost dev`, beside a fake Pyrus with a page, and reload at every saved file.

Nothing here runs in service. The host itself is `host`, and the fake Pyrus is `testing.fake_pyrus`. Start in `session.py`.
"""
