"""Two hosts on one state folder: the second one waits, and takes over when the first has gone."""

from __future__ import annotations

from tests.e2e.site import HostSite

GREET = """
async def greet(event):
    return "hello"
"""


def test_a_second_host_on_one_folder_waits_and_says_so(tmp_path):
    first, second = (HostSite(tmp_path, GREET, "one: plugin = greet") for _ in range(2))
    try:
        first.start()
        second.launch()
        assert "another host" in second.said("another host")["message"]
        assert first.deliver("one", comment=1).text == "hello"
        assert first.stop() == 0
        second.port = int(second.said("serves ")["message"].rpartition(":")[2])
        # what the first one answered is known
        assert second.deliver("one", comment=1, attempt="2/3").headers["X-Bothost"] == "repeat"
    finally:
        first.end()
        second.end()
