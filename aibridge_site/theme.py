"""What the browser pages look like and where their sidebar leads; settings.UNFOLD.

Knows URL names and permission names only, so that it can be read with the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _under(link: Any) -> Callable[[HttpRequest], bool]:
    """Return whether a page belongs to a link: the longest that it begins with."""

    def is_active(request: HttpRequest) -> bool:
        here, path = request.path, str(link)
        if path == str(_INDEX) or here.startswith(str(_CONNECT)):
            return here == path
        return here.startswith(path)

    return is_active


def _may(*permissions: str) -> Callable[[HttpRequest], bool]:
    return lambda request: any(map(request.user.has_perm, permissions))


def _may_read_traffic(request: HttpRequest) -> bool:
    return settings.AIBRIDGE_MEMBERS_READ_OWN or request.user.has_perm(
        "interceptions.view_interception"
    )


def _item(title: str, icon: str, link: str, permission: Any = None) -> dict[str, Any]:
    path = reverse_lazy(f"admin:{link}")
    entry = {"title": title, "icon": icon, "link": path, "active": _under(path)}
    return entry | ({"permission": permission} if permission else {})


_INDEX = reverse_lazy("admin:index")
_CONNECT = reverse_lazy("admin:proxy_gatewaytoken_connect")
_TEAL = {
    "50": "oklch(98.4% .014 180.72)",
    "100": "oklch(95.3% .051 180.801)",
    "200": "oklch(91% .096 180.426)",
    "300": "oklch(85.5% .138 181.071)",
    "400": "oklch(77.7% .152 181.912)",
    "500": "oklch(70.4% .14 182.503)",
    # One step darker than the usual scale: white text on it must stay readable.
    "600": "oklch(51.1% .096 186.391)",
    "700": "oklch(43.7% .078 188.216)",
    "800": "oklch(38.6% .063 188.416)",
    "900": "oklch(30% .05 190)",
    "950": "oklch(22% .04 192)",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "AI Bridge",
    "SITE_HEADER": "AI Bridge",
    "SITE_URL": None,
    "SITE_ICON": lambda request: static("aibridge/mark.svg"),
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("aibridge/mark.svg"),
        }
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": {"primary": _TEAL},
    "STYLES": [lambda request: static("aibridge/aibridge.css")],
    "SCRIPTS": [lambda request: static("aibridge/aibridge.js")],
    "COMMAND": {
        # Never the big tables: the palette would search them on every key.
        "search_models": ["providers.aiprovider", "auth.user"],
        "show_history": False,
    },
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    _item("Overview", "monitoring", "index", _may_read_traffic),
                    _item("Connect", "cable", "proxy_gatewaytoken_connect"),
                    {
                        "title": "REST API",
                        "icon": "api",
                        "link": reverse_lazy("api-docs"),
                    },
                ],
            },
            {
                "title": "Traffic",
                "separator": True,
                "items": [
                    _item(
                        "Sessions",
                        "forum",
                        "interceptions_session_changelist",
                        _may_read_traffic,
                    ),
                    _item(
                        "Interceptions",
                        "swap_vert",
                        "interceptions_interception_changelist",
                        _may_read_traffic,
                    ),
                ],
            },
            {
                "title": "Gateway",
                "separator": True,
                "items": [
                    _item(
                        "Providers",
                        "hub",
                        "providers_aiprovider_changelist",
                        _may("providers.view_aiprovider"),
                    ),
                    _item(
                        "Keys",
                        "key",
                        "providers_apikey_changelist",
                        _may("providers.view_apikey"),
                    ),
                    _item(
                        "MCP servers",
                        "handyman",
                        "proxy_mcpserver_changelist",
                        _may("proxy.view_mcpserver"),
                    ),
                    _item("Tokens", "badge", "proxy_gatewaytoken_changelist"),
                ],
            },
            {
                "title": "Administration",
                "separator": True,
                "items": [
                    _item(
                        "Users", "group", "auth_user_changelist", _may("auth.view_user")
                    ),
                    _item(
                        "Audit log",
                        "history",
                        "providers_auditevent_changelist",
                        _may("providers.view_auditevent"),
                    ),
                    _item(
                        "Workers",
                        "memory",
                        "interceptions_worker_changelist",
                        _may("interceptions.view_worker"),
                    ),
                ],
            },
        ],
    },
}
