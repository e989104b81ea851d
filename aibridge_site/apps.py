"""The shell as an application, and the admin with ``Site`` as its site."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps


class SiteConfig(AppConfig):
    """Static files, template tags and the pages of users."""

    name = "aibridge_site"
    default = True


class AdminConfig(apps.AdminConfig):
    """Makes ``Site`` the one that pages register with."""

    default = False
    default_site = "aibridge_site.site.Site"
