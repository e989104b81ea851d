"""The demo provider's HTTP side: routes, keys and the pace of its streams."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
from gevent.pywsgi import WSGIServer

from proxy.demo.answers import (
    CHAT,
    MESSAGES,
    RESPONSES,
    answer_body,
    answer_events,
    error_body,
)
from proxy.demo.conversation import NotAConversation, count_tokens, reply_to
from proxy.demo.reply import Json

logger = logging.getLogger(__name__)

DEMO_KEY = "demo-key"
MODELS = ("demo-large", "demo-small")
BODY_LIMIT = 64 * 1024 * 1024
_ROUTES = {
    "/messages": MESSAGES,
    "/chat/completions": CHAT,
    "/responses": RESPONSES,
}
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
}
_ERROR_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
}

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Refusal(Exception):
    """The request is answered with an error; the message is for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DemoProvider:
    """A WSGI application that speaks Messages, Chat Completions and Responses.

    Deltas of a stream are ``pace`` seconds apart. Routes are told by how the path
    ends, so that any base URL works. Only ``key`` is accepted, as a bearer token or in
    ``x-api-key``.
    """

    def __init__(self, *, key: str = DEMO_KEY, pace: float = 0.02) -> None:
        self._key = key
        self._pace = pace
        self._ids = itertools.count(int(time.time()) << 16)

    def __call__(self, environ: Json, start_response: StartResponse) -> Iterable[bytes]:
        try:
            self._check_key(environ)
            return self._answer(environ, start_response)
        except Refusal as refusal:
            return _refuse(environ, refusal, start_response)

    def _check_key(self, environ: Json) -> None:
        bearer = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if self._key not in (bearer, environ.get("HTTP_X_API_KEY")):
            raise Refusal(401, "The demo provider does not know this key.")

    def _answer(self, environ: Json, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"].rstrip("/"), environ["REQUEST_METHOD"]
        if method == "GET" and "/models" in path:
            return _send_json(start_response, _models(environ, path))
        if method == "POST" and path.endswith("/count_tokens"):
            counted = count_tokens(_read_json(environ))
            return _send_json(start_response, {"input_tokens": counted})
        api = _api(path)
        if api is None:
            raise Refusal(404, f"The demo provider has no {method} {path}.")
        if method != "POST":
            raise Refusal(405, f"{path} takes POST only.")
        return self._converse(api, _read_json(environ), start_response)

    def _converse(
        self, api: str, body: Json, start_response: StartResponse
    ) -> Iterable[bytes]:
        reply_id = f"demo{next(self._ids):016x}"
        try:
            reply = reply_to(api, body, reply_id=reply_id, created=int(time.time()))
        except NotAConversation as error:
            raise Refusal(400, str(error)) from error
        if body.get("stream") is not True:
            return _send_json(start_response, answer_body(api, reply))
        options = body.get("stream_options")
        include_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        _start(start_response, 200, "text/event-stream; charset=utf-8")
        return self._paced(answer_events(api, reply, include_usage=include_usage))

    def _paced(self, events: Iterable[bytes]) -> Iterator[bytes]:
        for event in events:
            if b"delta" in event[:200]:
                gevent.sleep(self._pace)
            yield event

    def serve(
        self, host: str, port: int, *, on_listening: Callable[[int], None]
    ) -> None:
        """Serve until GreenletExit or the hub ends; port 0 takes a free one.

        ``on_listening`` is told the port once connections are accepted. Raises OSError
        when the port is taken.
        """
        server = WSGIServer((host, port), self, log=None, error_log=logger)
        server.start()
        on_listening(server.server_port)
        try:
            server.serve_forever()
        finally:
            server.stop(timeout=1)


def _api(path: str) -> str | None:
    return next((api for end, api in _ROUTES.items() if path.endswith(end)), None)


def _read_json(environ: Json) -> Json:
    try:
        body = environ["wsgi.input"].read(BODY_LIMIT + 1)
    except OSError as error:
        raise Refusal(400, "The body ended early.") from error
    if len(body) > BODY_LIMIT:
        raise Refusal(413, "The request is too large.")
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "The body is not JSON.") from error
    if not isinstance(parsed, dict):
        raise Refusal(400, "The body is not a JSON object.")
    return parsed


def _models(environ: Json, path: str) -> Json:
    """Return the model list, or one model, as the asking API knows it."""
    describe = _openai_model
    if "HTTP_ANTHROPIC_VERSION" in environ:
        describe = _anthropic_model
    wanted = path.rpartition("/models")[2].lstrip("/")
    if wanted:
        if wanted not in MODELS:
            raise Refusal(404, f"There is no model {wanted[:80]}.")
        return describe(wanted)
    listing: Json = {"object": "list", "data": [describe(model) for model in MODELS]}
    if describe is _anthropic_model:
        listing |= {"has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
    return listing


def _openai_model(model: str) -> Json:
    return {"id": model, "object": "model", "created": 1750000000, "owned_by": "demo"}


def _anthropic_model(model: str) -> Json:
    name = model.replace("-", " ").title()
    created = "2025-06-15T15:06:40Z"
    return {"type": "model", "id": model, "display_name": name, "created_at": created}


def _refuse(
    environ: Json, refusal: Refusal, start_response: StartResponse
) -> Iterable[bytes]:
    speaks_anthropic = "HTTP_ANTHROPIC_VERSION" in environ
    api = _api(environ["PATH_INFO"].rstrip("/"))
    if api is None:
        api = MESSAGES if speaks_anthropic else CHAT
    kind = _ERROR_TYPES.get(refusal.status, "invalid_request_error")
    if api != MESSAGES and refusal.status == 401:
        kind = "invalid_api_key"
    envelope = error_body(api, kind, str(refusal))
    return _send_json(start_response, envelope, refusal.status)


def _send_json(
    start_response: StartResponse, content: Json, status: int = 200
) -> Iterable[bytes]:
    body = json.dumps(content).encode()
    _start(start_response, status, "application/json", ("Content-Length", len(body)))
    return [body]


def _start(
    start_response: StartResponse, status: int, kind: str, *headers: tuple[str, Any]
) -> None:
    named = [("Content-Type", kind), ("request-id", f"req_demo{time.time_ns():x}")]
    named += [(name, str(value)) for name, value in headers]
    start_response(f"{status} {_REASONS[status]}", named)
