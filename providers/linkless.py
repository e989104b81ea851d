"""Lists of rows that have no page of their own."""

from __future__ import annotations

from typing import Any, Never

from django.http import HttpRequest
from django.urls import NoReverseMatch
from unfold.views import ChangeList


class LinklessList:
    """For a ModelAdmin: the first column heads its row and leads nowhere.

    ``list_display_links = None`` does without a heading, and on a narrow page names the
    first column "Select record".
    """

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return _Linkless


class _Linkless(ChangeList):
    def url_for_result(self, result: Any) -> Never:
        # What Django takes for "this row has no page".
        raise NoReverseMatch
