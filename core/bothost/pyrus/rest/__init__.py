"""Describe calls of Pyrus's API as values: requests before they are sent, results after they came.

Nothing here sends anything; `bothost.pyrus_client` does. Start with `requests.py`; `results.py` types the answers and
`base_urls.py` says where a token may go.
"""
