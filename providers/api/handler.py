"""One body for all errors of the REST API.

``{"message", "detail"?, "validations"?: [{"field", "detail"}]}``
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelError
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler as respond

from providers.api.errors import Conflict, Invalid, Unavailable
from providers.encryption import UndecryptableSecret

logger = logging.getLogger(__name__)

INVALID_BODY = "Request has invalid values."
NOT_FOUND = "Not found."


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response for an error, None for one that nobody expected."""
    if isinstance(error, ModelError):
        error = exceptions.ValidationError(as_details(error))
    if isinstance(error, DataError):
        error = Invalid([], "A value cannot be stored.")
    if isinstance(error, OperationalError | InterfaceError):
        error = _away(error)
    if isinstance(error, UndecryptableSecret):
        error = Conflict(f"{error}; see AIBRIDGE_ENCRYPTION_KEYS")
    response = respond(error, context)
    if response is None:
        return None
    response.data = _body(error)
    return response


@csrf_exempt
def not_found(request: HttpRequest, path: str = "") -> JsonResponse:
    """Answer for a path that the API does not have."""
    return JsonResponse({"message": NOT_FOUND}, status=status.HTTP_404_NOT_FOUND)


def as_details(error: ModelError) -> Any:
    """Return a Django ValidationError in the shape of DRF's."""
    if hasattr(error, "error_dict"):
        return error.message_dict
    return {"non_field_errors": error.messages}


def _away(error: Exception) -> exceptions.APIException:
    logger.error("database not usable for REST", exc_info=error)
    return Unavailable()


def _body(error: Exception) -> dict[str, Any]:
    if isinstance(error, Invalid):
        return {"message": str(error.detail), "validations": error.validations}
    if isinstance(error, exceptions.ValidationError):
        return {"message": INVALID_BODY, "validations": list(flatten(error.detail))}
    if isinstance(error, Http404 | exceptions.NotFound):
        return {"message": NOT_FOUND}
    if isinstance(error, PermissionDenied):
        return {"message": str(exceptions.PermissionDenied.default_detail)}
    return {"message": str(getattr(error, "detail", error))}


def flatten(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """Return ``{"field", "detail"}`` for each text in DRF's nested details."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            below = path if name == "non_field_errors" else _join(path, str(name))
            yield from flatten(inner, below)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list)
            yield from flatten(inner, _join(path, str(index)) if nested else path)
    else:
        yield {"field": path or "body", "detail": str(detail)}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
