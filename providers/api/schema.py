"""The OpenAPI description: what the views do not say themselves.

Adds to every operation the errors it can answer with, and how callers authenticate.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from providers.api.paging import CURSOR_PATTERN, DEFAULT_LIMIT, MAX_LIMIT

VISIBLE_TEXT = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"
"""What free text must look like: not blank, no NUL."""
ANY_TEXT = r"^[^\u0000]*$"

_ERRORS = {
    "400": ("Values that cannot be used; `validations` names each.", "invalid"),
    "401": ("No, or no valid, credentials.", "unauthenticated"),
    "403": ("The caller's role does not allow this.", "forbidden"),
    "404": ("There is no such row, or the caller may not see it.", "missing"),
    "409": ("Contradicts what is stored.", "conflict"),
    "413": ("The request body is larger than 1 MiB.", "too_large"),
    "415": ("The request body is not `application/json`.", "unsupported"),
    "503": ("The database is not available; try again later.", "unavailable"),
}
_WRITES = {"POST", "PUT", "PATCH", "DELETE"}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "invalid_body": {
        "message": "Request has invalid values.",
        "validations": [{"field": "name", "detail": "This field is required."}],
    },
    "invalid": {
        "message": "Query parameters have invalid values.",
        "validations": [
            {"field": "limit", "detail": "must be a whole number from 1 to 1000"}
        ],
    },
    "unauthenticated": {"message": "Authentication credentials were not provided."},
    "forbidden": {"message": "You do not have permission to perform this action."},
    "missing": {"message": "Not found."},
    "conflict": {"message": 'A provider named "anthropic-eu" exists.'},
    "too_large": {"message": "The request body is too large."},
    "unsupported": {"message": 'Unsupported media type "text/plain" in request.'},
    "unavailable": {"message": "The database is not available."},
}


class ValidationSerializer(serializers.Serializer):
    """One field, and why its value cannot be used."""

    field = serializers.CharField(
        help_text="Name of the parameter or path in the body."
    )
    detail = serializers.CharField(help_text="What is wrong with it.")


class ErrorSerializer(serializers.Serializer):
    """Every error of this API."""

    message = serializers.CharField(help_text="What went wrong, for people.")
    detail = serializers.CharField(required=False, help_text="More about it.")
    validations = ValidationSerializer(
        many=True, required=False, help_text="Each value that cannot be used."
    )


class StrictCharFieldSchema(OpenApiSerializerFieldExtension):
    """Says which texts a field of a request takes."""

    target_class = "providers.api.fields.StrictCharField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        """Return the field's schema with its pattern."""
        mapped = auto_schema._map_serializer_field(
            self.target, direction, bypass_extensions=True
        )
        if direction == "response" or "enum" in mapped:
            return mapped
        mapped.pop("minLength", None)
        blank_or_not = ANY_TEXT if self.target.allow_blank else VISIBLE_TEXT
        return mapped | {"pattern": self.target.pattern or blank_or_not}


class Schema(AutoSchema):
    """Describes a view; ``conflicts`` in its extensions adds 409."""

    def _get_response_bodies(self, direction: str = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        if direction == "response":
            for status in self._error_statuses():
                bodies.setdefault(status, self._error_response(status))
        return dict(sorted(bodies.items()))

    def _error_statuses(self) -> set[str]:
        statuses = {"400", "401", "403", "503"}
        if "{" in self.path:
            statuses.add("404")
        if self.method in _WRITES:
            statuses |= {"413", "415"}
        if self.method in getattr(self.view, "conflict_methods", ()):
            statuses.add("409")
        return statuses

    def _error_response(self, status: str) -> dict[str, Any]:
        description, example = _ERRORS[status]
        if status == "400" and self.method in _WRITES:
            example = "invalid_body"
        component = self.resolve_serializer(ErrorSerializer, "response")
        return {
            "description": description,
            "content": {
                "application/json": {
                    "schema": component.ref,
                    "examples": {example: {"value": _EXAMPLES[example]}},
                }
            },
        }


def limit_parameter(
    *, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT
) -> OpenApiParameter:
    """Return the description of ``limit``."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return OpenApiParameter(
        "limit", schema, description="How many rows a page has.", required=False
    )


def id_parameter(name: str, description: str) -> OpenApiParameter:
    """Return the description of a parameter that is an id."""
    return OpenApiParameter(
        name, OpenApiTypes.UUID, description=description, required=False
    )


def id_page_parameters() -> list[OpenApiParameter]:
    """Return the description of the parameters of ``IdPages``."""
    return [
        limit_parameter(),
        id_parameter("after_id", "Rows that follow this id in the list (older ones)."),
        id_parameter("before_id", "Rows right ahead of this id in the list (newer)."),
    ]


def cursor_parameters() -> list[OpenApiParameter]:
    """Return the description of the parameters of ``MomentPages``."""
    cursor = OpenApiParameter(
        "cursor",
        {"type": "string", "pattern": CURSOR_PATTERN},
        description="Where the page begins; take it from `next` or `previous`.",
        required=False,
    )
    return [limit_parameter(), cursor]


def text_parameter(
    name: str, description: str, *, max_length: int | None = None
) -> OpenApiParameter:
    """Return the description of a parameter that is free text."""
    schema: dict[str, Any] = {"type": "string", "pattern": VISIBLE_TEXT}
    if max_length is not None:
        schema["maxLength"] = max_length
    return OpenApiParameter(name, schema, description=description, required=False)


def page_schema(results: str, item: type[serializers.Serializer]) -> Any:
    """Return the serializer of a page whose rows are called ``results``."""
    name = item.__name__.removesuffix("Serializer")
    fields: dict[str, Any] = {
        "__doc__": f"One page of a list of {results}.",
        "__module__": __name__,
        "count": serializers.IntegerField(
            min_value=0, help_text="How many rows match; at least so many when capped."
        ),
        "count_is_capped": serializers.BooleanField(
            help_text="True when counting ended early, at 10,000 rows or because it "
            "took long: more rows may match."
        ),
        "next": serializers.URLField(
            allow_null=True, help_text="The page that follows, null on the last one."
        ),
        "previous": serializers.URLField(
            allow_null=True, help_text="The page ahead, null on the first one."
        ),
        results: item(many=True),
    }
    return type(f"{name}PageSerializer", (serializers.Serializer,), fields)
