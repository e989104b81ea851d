"""The pages of users: a person, a role, a password; the rest is history."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from interceptions.roles import ADMINISTRATORS, AUDITORS
from providers import audit
from providers.auditing import AuditedAdmin

ROLES = {
    "": "Member: own tokens",
    AUDITORS: "Auditor: reads everybody's sessions and interceptions",
    ADMINISTRATORS: "Administrator: everything",
}

admin.site.unregister(User)
admin.site.unregister(Group)


def role_of(user: User) -> str:
    """Return the name of the user's group among ROLES, "" for a member."""
    names = {group.name for group in user.groups.all()}
    return next((name for name in reversed(ROLES) if name in names), "")


class RoleMixin(forms.ModelForm):
    """Adds the role, stored as membership in its group."""

    role = forms.ChoiceField(
        choices=list(ROLES.items()),
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="What the person may do here.",
    )

    def save_role(self) -> None:
        """Make the user a member of the role's group and of no other role's."""
        role = self.cleaned_data["role"]
        self.instance.groups.remove(*Group.objects.filter(name__in=set(ROLES) - {role}))
        if role:
            self.instance.groups.add(Group.objects.get(name=role))


class AddUserForm(RoleMixin, UserCreationForm):
    """A new user with a role."""


class ChangeUserForm(RoleMixin, UserChangeForm):
    """A user and the role."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].initial = role_of(self.instance)


@admin.register(User)
class UserAdmin(AuditedAdmin, DjangoUserAdmin, ModelAdmin):
    """People who log in or call the gateway."""

    form = ChangeUserForm
    add_form = AddUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "shown_role", "is_active", "last_login")
    list_filter = ("is_active", "groups")
    list_filter_sheet = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("username", "first_name", "last_name", "email")
    search_help_text = "Name or e-mail"
    actions = ("activate", "deactivate")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "role", "password1", "password2")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("groups")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keep administrators from taking over a superuser's account."""
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: interceptions need their initiator. Deactivating locks out."""
        return False

    @admin.display(description="Role")
    def shown_role(self, user: User) -> str:
        if user.is_superuser:
            return "Superuser"
        return ROLES[role_of(user)].partition(":")[0]

    def save_related(
        self, request: HttpRequest, form: Any, formsets: Any, change: bool
    ) -> None:
        before = role_of(form.instance)
        form.save_role()
        super().save_related(request, form, formsets, change)
        after = form.cleaned_data["role"]
        if before != after:
            told = {"role": [before or "member", after or "member"]}
            audit.record(request.user, "change", form.instance, told)

    @admin.action(description="Deactivate", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet) -> None:
        self._switch(request, queryset, active=False)

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet) -> None:
        self._switch(request, queryset, active=True)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet, *, active: bool
    ) -> None:
        changed = [
            user
            for user in queryset.exclude(pk=request.user.pk).exclude(is_active=active)
            if self.has_change_permission(request, user)
        ]
        for user in changed:
            user.is_active = active
            user.save(update_fields=["is_active"])
            told: dict[str, Any] = {"is_active": [not active, active]}
            audit.record(request.user, "change", user, told)
        done = "activated" if active else "deactivated"
        self.message_user(request, f"{len(changed)} {done}.")

    def user_change_password(self, request: Any, id: str, form_url: str = "") -> Any:
        answer = super().user_change_password(request, id, form_url)
        if request.method == "POST" and answer.status_code == 302:
            target: Model | None = self.get_object(request, id)
            if target is not None:
                audit.record(request.user, "set password", target)
        return answer
