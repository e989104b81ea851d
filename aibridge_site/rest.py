"""How the REST API answers and describes itself; settings.REST_FRAMEWORK and the like.

Names classes only, so that it can be read with the settings.
"""

from __future__ import annotations

from typing import Any

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "proxy.api.authentication.GatewayTokenAuthentication",
        "proxy.api.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["providers.api.permissions.Nobody"],
    "DEFAULT_RENDERER_CLASSES": ["providers.api.rendering.FastJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["providers.api.parsing.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "providers.api.negotiation.OneRenderer",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "providers.api.schema.Schema",
    "EXCEPTION_HANDLER": "providers.api.handler.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
}

_DESCRIPTION = """\
Everything the browser shows, for programs.

**Who may call.** Send a gateway token (`Authorization: Bearer aib_…`), which acts with
its owner's permissions, or use the browser's login. Administrators may do everything
below; auditors read interceptions, sessions and the options of their filters; members
manage their own tokens. A row that the caller may not see is 404.

**Lists** are walked with `next` and `previous`. They take `limit` from 1 to 1000
(default 100). `count` ends at 10,000, or earlier where counting would take long; then
`count_is_capped` is true, and more rows may match.

**Filters** can be given one by one, or together as `q`: `key:value` elements separated
by spaces, with double quotes around values that hold spaces or colons, for example
`q=model:gpt-5.2 client:"Claude Code" started_after:"2026-01-01T00:00:00Z"`.
For interceptions a term without a key is the initiator.

**Errors** have one body: `message`, and for values that cannot be used `validations`,
a list of `field` and `detail`. Query parameters and body fields that do not exist are
refused by name. **Secrets** can be written and never read.
"""

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "AI Bridge",
    "DESCRIPTION": _DESCRIPTION,
    "VERSION": "0.1.0",
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/aigateway",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_SPLIT_PATCH": True,
    "ENUM_NAME_OVERRIDES": {
        "ErrorTypeEnum": "interceptions.choices.ErrorType",
        "OutcomeEnum": "interceptions.choices.Outcome",
        "CredentialKindEnum": "interceptions.choices.CredentialKind",
        "AttemptOutcomeEnum": "interceptions.choices.AttemptOutcome",
        "ThoughtSourceEnum": "interceptions.choices.ThoughtSource",
        "ToolKindEnum": "interceptions.choices.ToolKind",
        "ProviderKindEnum": "providers.kinds.Kind",
        "KeyStateEnum": "providers.api.serializers.KEY_STATES",
        "TokenStateEnum": "proxy.api.serializers.STATES",
    },
    "PREPROCESSING_HOOKS": ["providers.api.routes.documented"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "aibridge_site.openapi.finish",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False},
    "TAGS": [
        {"name": "interceptions", "description": "What was asked and answered."},
        {"name": "sessions", "description": "Interceptions by session and thread."},
        {"name": "options", "description": "Values that filters can take."},
        {"name": "exports", "description": "Whole filtered lists as files."},
        {"name": "providers", "description": "Who the gateway can talk to."},
        {"name": "keys", "description": "A provider's keys and their health."},
        {"name": "tokens", "description": "What clients show to be let in."},
    ],
}
