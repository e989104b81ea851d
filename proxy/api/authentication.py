"""Gateway tokens as credentials of the REST API; a token acts as its owner.

Tokens are checked by ``proxy.actors``, as the data plane does.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from providers.api.errors import Unavailable
from proxy import actors, errors
from proxy.headers import bearer_token


class GatewayTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer aib_…``."""

    def authenticate(self, request: Request) -> tuple[Any, actors.Actor] | None:
        """Return the token's owner; None when no bearer token was sent."""
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        try:
            actor = actors.authenticate_token(bearer_token(header))
        except errors.Unauthorized as error:
            raise AuthenticationFailed(error.message) from error
        except errors.Forbidden as error:
            raise PermissionDenied(error.message) from error
        except errors.RecordUnavailable as error:
            raise Unavailable() from error
        user = get_user_model().objects.filter(pk=actor.user_id).first()
        if user is None or not user.is_active:
            raise PermissionDenied("the token's owner is not active")
        return user, actor

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return 'Bearer realm="AI Bridge"'


class GatewayTokenScheme(OpenApiAuthenticationExtension):
    """Describes the token in the schema."""

    target_class = "proxy.api.authentication.GatewayTokenAuthentication"
    name = "gatewayToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "aib_<prefix>_<secret>",
            "description": "A gateway token; it acts with its owner's permissions.",
        }


class BrowserSessionAuthentication(SessionAuthentication):
    """The browser's login; writes need the CSRF token."""


class BrowserSessionScheme(OpenApiAuthenticationExtension):
    """Describes the login in the schema."""

    target_class = "proxy.api.authentication.BrowserSessionAuthentication"
    name = "browserSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The browser's login; writes also need `X-CSRFToken`.",
        }
