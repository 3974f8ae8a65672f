"""The approval as a bot of aiopyrus, on its own webhook server."""

import os
import sys

import uvloop
from aiopyrus import Dispatcher, PyrusBot
from aiopyrus.bot.webhook.server import create_app, run_app

dispatcher = Dispatcher()


@dispatcher.task_received()
async def approve(payload):
    """Greet and approve."""
    author = payload.task.author
    return {"text": f"Hello, {author.email}. This task approved by bot.", "approval_choice": "approved"}


async def main(port):
    """Serve until the end."""
    bot = PyrusBot("bot@example", os.environ["BENCH_SECRET"])
    await run_app(create_app(dispatcher=dispatcher, bot=bot, path="/b0"), host="127.0.0.1", port=port)


uvloop.run(main(int(sys.argv[1])))
