"""The approval as a bot of aiopyrus, on its own webhook server."""

import os
import sys
import time

import uvloop
from aiopyrus import Dispatcher, PyrusBot
from aiopyrus.bot.webhook.server import create_app, run_app

dispatcher = Dispatcher()


@dispatcher.task_received()
async def approve(payload):
    """Greet and approve."""
    author = payload.task.author
    return {"text": f"Hello, {author.email}. This task approved by bot.", "approval_choice": "approved"}


other_dispatcher = Dispatcher()


@other_dispatcher.task_received()
async def block():
    """Block, as a handler does that calls a library of another time."""
    time.sleep(0.5)
    return {}


async def main(port):
    """Serve until the end."""
    bot = PyrusBot("bot@example", os.environ["BENCH_SECRET"])
    other = PyrusBot("other@example", os.environ["BENCH_OTHER_SECRET"])
    app = create_app(dispatcher=dispatcher, bot=bot, path="/b0")
    app.add_subapp("/b1", create_app(dispatcher=other_dispatcher, bot=other, path=""))
    await run_app(app, host="127.0.0.1", port=port)


uvloop.run(main(int(sys.argv[1])))
