"""The help page's sample with two changes: its signature check is really called, and the secret comes from outside."""

import hashlib
import hmac
import json
import os
import time

from flask import Flask, request

app = Flask(__name__)


def _is_signature_correct(message, secret, signature):
    secret = str.encode(secret)
    digest = hmac.new(secret, msg=message, digestmod=hashlib.sha1).hexdigest()
    return hmac.compare_digest(digest, signature.lower())


@app.route("/b0", methods=["GET", "POST"])
def index():
    """Answer one delivery."""
    body = request.data
    signature = request.headers["x-pyrus-sig"]
    secret = os.environ["BENCH_SECRET"]
    if not _is_signature_correct(body, secret, signature):
        return "", 403
    return _prepare_response(body.decode("utf-8"))


@app.route("/b1", methods=["POST"])
def other():
    """Answer one delivery of a bot that blocks."""
    if not _is_signature_correct(request.data, os.environ["BENCH_OTHER_SECRET"], request.headers["x-pyrus-sig"]):
        return "", 403
    time.sleep(0.5)
    return {}


def _prepare_response(body):
    task = json.loads(body)["task"]
    task_author = task["author"]["email"]
    return f'{{"text": "Hello, {task_author}. This task approved by bot.", "approval_choice": "approved"}}'
