"""Where a token may go."""

from __future__ import annotations

import pytest

from bothost.pyrus.rest.base_urls import DEFAULT_API_URL, allowed, auth_url, choose

HOME = "https://pyrus.corp.ru/api/v4/"


@pytest.mark.parametrize(
    "url",
    ["https://api.pyrus.com/v4/", "https://pyrus.com/v4", "https://eu.api.pyrus.com/v4/", "https://api.pyrus.kz/v4/",
     "https://API.Pyrus.COM/v4/", "https://api.pyrus.com:443/v4/"],
)  # fmt: skip
def test_pyruss_own_clouds_are_allowed(url: str) -> None:
    assert allowed(url)
    assert allowed(url, HOME)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.pyrus.com/v4/", "https://pyrus.com@evil.example/v4/", "https://api.pyrus.com:x@evil.example/",
        "https://pyrus.com.evil.example/v4/", "https://evilpyrus.com/v4/", "https://api.pyrus.com:8443/v4/",
        "https://api.pyrus.com\\@evil.example/", "https://evil.example/?https://api.pyrus.com/", "https://evil.example#pyrus.com",
        "https://api.pyrus.com%2eevil.example/", "https://api.pyrus.com\n.evil.example/", " https://api.pyrus.com/v4/",
        "https://api.pyrus.com./v4/", "ftp://api.pyrus.com/", "//api.pyrus.com/v4/", "api.pyrus.com/v4/", "", "https://",
        "https:///v4/", "https://api..pyrus.com/", "https://.pyrus.com/", "https://[::1/", "https://api.pyrus.com:99999/",
        "https://api.pyrus.com:0/", "https://аpi.pyrus.com/", "http://127.0.0.1/", "https://localhost/v4/", "https://10.0.0.1/",
    ],
)  # fmt: skip
def test_nothing_else_is(url: str) -> None:
    assert not allowed(url)


@pytest.mark.parametrize(
    ("url", "configured", "fine"),
    [
        ("https://pyrus.corp.ru/api/v4/", HOME, True),
        ("https://files.pyrus.corp.ru/api/v4/", HOME, True),
        ("https://corp.ru/api/v4/", HOME, False),
        ("https://pyrus.corp.ru:8443/api/v4/", HOME, False),
        ("https://pyrus.corp.ru:8443/api/v4/", "https://pyrus.corp.ru:8443/api/v4/", True),
        ("http://pyrus.corp.ru/api/v4/", HOME, False),
        ("http://127.0.0.1:9000/api/v4/", "http://127.0.0.1:9000/api/v4/", True),
        ("http://127.0.0.1:9001/api/v4/", "http://127.0.0.1:9000/api/v4/", False),
        ("http://evil.127.0.0.1:9000/", "http://127.0.0.1:9000/api/v4/", False),
        ("http://localhost:9000/v4/", "http://localhost:9000/v4/", True),
        ("http://evil.localhost:9000/v4/", "http://localhost:9000/v4/", False),
        ("https://[::1]:9000/v4/", "https://[::1]:9000/v4/", True),
        ("http://pyrus.corp.ru/api/v4/", "http://pyrus.corp.ru/api/v4/", False),
    ],
)
def test_the_configured_host_is_allowed_with_its_own_port_and_scheme(url: str, configured: str, fine: bool) -> None:
    assert allowed(url, configured) is fine


def test_an_offered_base_is_taken_only_if_it_is_allowed() -> None:
    assert choose("") == DEFAULT_API_URL
    assert choose("", "https://evil.example/", "https://eu.pyrus.com/v4") == "https://eu.pyrus.com/v4/"
    assert choose(HOME, "https://evil.example/") == HOME


@pytest.mark.parametrize(
    ("api_url", "expected"),
    [
        ("https://api.pyrus.com/v4/", "https://accounts.pyrus.com/api/v4/auth"),
        ("https://api.pyrus.kz/v4/", "https://accounts.pyrus.kz/api/v4/auth"),
        (HOME, HOME + "auth"),
        ("https://pyrus.corp.ru/api/v4", HOME + "auth"),
    ],
)
def test_logins_go_to_the_clouds_account_host_or_below_an_on_premise_base(api_url: str, expected: str) -> None:
    assert auth_url(api_url) == expected
