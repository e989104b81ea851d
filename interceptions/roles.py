"""The two roles, as groups with Django's permissions (decisions D10).

Nobody is granted to change or delete an interception: retention is the only way out.
"""

from __future__ import annotations

from typing import Any

ADMINISTRATORS = "Administrators"
AUDITORS = "Auditors"

_ALL = ("add", "change", "delete", "view")
_RECORDS: dict[str, tuple[str, ...]] = {
    "interceptions.Interception": ("view",),
    "interceptions.Attempt": ("view",),
    "interceptions.TokenUsage": ("view",),
    "interceptions.UserPrompt": ("view",),
    "interceptions.ToolUsage": ("view",),
    "interceptions.ModelThought": ("view",),
    "interceptions.Session": ("view",),
    "interceptions.Facet": ("view",),
}
ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    AUDITORS: _RECORDS,
    ADMINISTRATORS: _RECORDS
    | {
        "interceptions.Worker": ("view",),
        "providers.AiProvider": _ALL,
        "providers.ApiKey": _ALL,
        "providers.KeyEvent": ("view",),
        "providers.AuditEvent": ("view",),
        "proxy.GatewayToken": _ALL,
        "proxy.McpServer": _ALL,
        "auth.User": _ALL,
        "auth.Group": _ALL,
    },
}


def make_roles(apps: Any, schema_editor: Any = None) -> None:
    """Make the groups and grant what each may do; what they have is kept.

    Models that ``apps`` does not know yet are left to a later migration.
    """
    group_table = apps.get_model("auth", "Group")
    for role, grants in ROLES.items():
        group, _ = group_table.objects.get_or_create(name=role)
        for model, verbs in grants.items():
            if not _is_known(apps, model):
                continue
            group.permissions.add(*(_permission(apps, model, verb) for verb in verbs))


def _is_known(apps: Any, model: str) -> bool:
    try:
        apps.get_model(model)
    except LookupError:
        return False
    return True


def _permission(apps: Any, model: str, verb: str) -> Any:
    """Return a permission; Django makes it after all migrations, which is too late."""
    options = apps.get_model(model)._meta
    content_type, _ = apps.get_model(
        "contenttypes", "ContentType"
    ).objects.get_or_create(app_label=options.app_label, model=options.model_name)
    found, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename=f"{verb}_{options.model_name}",
        defaults={"name": f"Can {verb} {options.verbose_name}"},
    )
    return found
