"""The address of a service that a plugin calls."""

from __future__ import annotations

import pytest

from bothost import ServiceAddress


@pytest.mark.parametrize(
    "url",
    ["https://service.example.com/pyrus?x=1", "https://service:8443/", "http://127.0.0.2:1/", "http://[::1]:80/", "https://\u0441\u0435\u0440\u0432\u0438\u0441.example/\u043f\u0443\u0442\u044c", "https://my_service/"],
)  # fmt: skip
def test_a_sound_address_is_taken(url: str) -> None:
    assert ServiceAddress.parse(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://service.example.com/a b", "holds a blank"),
        ("https://service.example.com/\r\nX: y", "holds a blank"),
        ("https://service.example.com:99999/", "is not an address"),
        ("https://service.example.com:0/", "no port"),
        ("https://service.example.com:x/", "is not an address"),
        ("https://service.example.com:/", "no port"),
        ("https://service..example.com/", "no machine can have"),
        (f"https://{'a' * 64}.example/", "no machine can have"),
        ("https://999.1.1.1/", "no machine can have"),
        ("https://-service.example/", "no machine can have"),
        ("https://[::1/", "is not an address"),
        ("https://service.example.com/#part", "holds a #"),
        ("service.example.com", "is not an address"),
        ("ftp://service.example.com/", "is not an address"),
        ("https://", "is not an address"),
        ("http://service.example.com/", "must be https"),
        ("https://name:word@service.example.com/", "must not hold a name"),
    ],
)
def test_an_unsound_address_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ServiceAddress.parse(url)
