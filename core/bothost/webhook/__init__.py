"""Translate Pyrus's requests into deliveries, and outcomes into responses. This package decides nothing.

Connections and HTTP belong to `http_server`, and what a delivery is answered belongs to `pipeline`.
Start reading at `request.py`: route, collect, verify, hand over.
"""
