"""Errors of the REST API, each with its status."""

from __future__ import annotations

from rest_framework import exceptions, status

INVALID_QUERY = "Query parameters have invalid values."


class Invalid(exceptions.APIException):
    """Values that cannot be used; ``validations`` names each field and why."""

    status_code = status.HTTP_400_BAD_REQUEST

    def __init__(self, validations: list[dict[str, str]], message: str) -> None:
        super().__init__(message)
        self.validations = validations


class InvalidQuery(Invalid):
    """Query parameters that cannot be used."""

    def __init__(self, validations: list[dict[str, str]]) -> None:
        super().__init__(validations, INVALID_QUERY)


class Conflict(exceptions.APIException):
    """The request contradicts what is stored."""

    status_code = status.HTTP_409_CONFLICT


class TooLarge(exceptions.APIException):
    """The body is larger than any that this API takes."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request body is too large."


class Unavailable(exceptions.APIException):
    """The database is away; the same request may succeed later."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database is not available."
