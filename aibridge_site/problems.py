"""Answers where no view has one: pages for people below /admin/, JSON for programs.

Whatever is broken, these must not be: they read no table and no session.
"""

from __future__ import annotations

from typing import NamedTuple

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string


class _Problem(NamedTuple):
    status: int
    message: str
    title: str
    advice: str


_UNUSABLE = _Problem(
    400,
    "Bad request.",
    "This request cannot be used",
    "The address or the form holds something unexpected. Go back and try it from the "
    "page itself.",
)
_STALE = _Problem(
    403,
    "CSRF verification failed.",
    "This form is out of date",
    "Somebody may have logged in or out since it was opened, or cookies are off. "
    "Nothing was changed: go back, reload the page and send the form again.",
)
_REFUSED = _Problem(
    403,
    "Permission denied.",
    "Your role does not include this page",
    "Administrators give roles under Users.",
)
_MISSING = _Problem(
    404,
    "Not found.",
    "There is no such page",
    "The address may be wrong, or what it showed was deleted. Records are deleted when "
    "they reach the age that is set for them.",
)
_BROKEN = _Problem(
    500,
    "Internal error.",
    "Something went wrong here",
    "The server's log says what. Trying again may help; if it does not, tell whoever "
    "runs this gateway when it happened.",
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refuses to read."""
    return _answer(request, _UNUSABLE)


def stale_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form without the token that shows where it comes from."""
    return _answer(request, _STALE)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer somebody who may not do this."""
    return _answer(request, _REFUSED)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request for what is not there."""
    return _answer(request, _MISSING)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer after an exception that nobody expected."""
    return _answer(request, _BROKEN)


def _answer(request: HttpRequest, problem: _Problem) -> HttpResponse:
    if not request.path.startswith("/admin/"):
        return JsonResponse({"message": problem.message}, status=problem.status)
    page = render_to_string("aibridge/problem.html", {"problem": problem})
    return HttpResponse(page, status=problem.status)
