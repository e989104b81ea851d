"""What every view of the REST API does alike.

1. Nobody may do anything unless the view's permission classes say so.
2. Query parameters that a view does not know, that are empty or that come twice are
   refused, each by name.
3. A row that the caller may not see is 404, whatever the method.
"""

from __future__ import annotations

from typing import Any, NoReturn

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from providers.api.errors import InvalidQuery


class StrictView(APIView):
    """Base of all views; ``row_kwarg`` names the URL part that identifies a row."""

    row_kwarg = "pk"

    def query_names(self) -> frozenset[str]:
        """Return the query parameters this request may have."""
        return frozenset()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method in self.allowed_methods:
            check_query(request, self.query_names())

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Return the answer, which lets go of what was read once it is written.

        The framework's request, view and answer refer to one another. The rows of a
        page would stay until Python looks for garbage, and all requests wait for that.
        """
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(response, Response):
            response.add_post_render_callback(self._let_go)
        return response

    def _let_go(self, response: Response) -> None:
        self.response = response.renderer_context = None
        self.request.parser_context = None

    def permission_denied(
        self, request: Request, message: str | None = None, code: str | None = None
    ) -> NoReturn:
        if request.user.is_authenticated and self.kwargs.get(self.row_kwarg):
            raise NotFound()
        super().permission_denied(request, message, code)
        raise AssertionError("permission_denied always raises")


def check_query(request: Request, known: frozenset[str]) -> None:
    """Raise InvalidQuery naming each parameter that is unknown, empty or repeated."""
    problems = []
    for name, values in request.query_params.lists():
        if name not in known:
            problems.append((name, f'"{name}" is not a valid query parameter'))
        elif len(values) > 1:
            problems.append((name, "is given more than once"))
        elif not values[0].strip():
            problems.append((name, "must not be empty"))
    if problems:
        raise InvalidQuery(
            [{"field": field, "detail": detail} for field, detail in problems]
        )
