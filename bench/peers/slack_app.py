"""A stranger's reference: slack_bolt's Tornado adapter, which verifies HMAC-SHA256 and decodes the body."""

import asyncio
import json
import os
import sys

from slack_bolt import BoltResponse
from slack_bolt.adapter.tornado.async_handler import AsyncSlackEventsHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from tornado.web import Application


async def authorize(**_known):
    """Return the owner of the token without asking Slack."""
    return AuthorizeResult(enterprise_id="E1", team_id="T1", bot_token="xoxb-of-nobody", bot_id="B1", bot_user_id="U1")


app = AsyncApp(
    signing_secret=os.environ["BENCH_SECRET"],
    authorize=authorize,
    process_before_response=True,
    ignoring_self_events_enabled=False,
)


@app.middleware
async def approve(body):
    """Greet and approve."""
    text = f"Hello, {body['task']['author']['email']}. This task approved by bot."
    said = json.dumps({"text": text, "approval_choice": "approved"})
    return BoltResponse(status=200, body=said, headers={"content-type": ["application/json"]})


async def main(port):
    """Serve until the end."""
    Application([("/b0", AsyncSlackEventsHandler, {"app": app})]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
