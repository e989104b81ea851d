"""The text that greets whoever started the gateway: where it is, and what to paste."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from providers.kinds import spec_of
from providers.models import AiProvider
from proxy.bootstrap import ADMIN, FirstRun
from proxy.recipes import PLACEHOLDER, Recipe, Target, recipes_for

_COMMANDS = ".venv/bin/python manage.py"


_DEMO = """\
A demo provider on this machine makes answers up. For real ones set ANTHROPIC_API_KEY
or OPENAI_API_KEY before the first run, or add a provider in the admin."""


def welcome(
    url: str, providers: Iterable[AiProvider], first: FirstRun, *, demo: bool = False
) -> str:
    """Return the whole text; secrets are in it only when ``first`` has them."""
    parts = [f"AI Bridge serves {url}/admin/", _login(first)]
    recipes = _recipes(url, list(providers), first.token or PLACEHOLDER)
    if recipes:
        parts += [_recipe(recipe) for recipe in recipes]
    else:
        parts.append("No provider is enabled: add one in the admin.")
    if demo:
        parts.append(_DEMO)
    return "\n\n".join(parts)


def _login(first: FirstRun) -> str:
    if not first.password:
        return textwrap.dedent(f"""\
            Another token:     {_COMMANDS} tokens create --user {ADMIN} --name NAME
            Another password:  {_COMMANDS} changepassword {ADMIN}""")
    return textwrap.dedent(f"""\
        Log in as:      {ADMIN}
        Password:       {first.password}
        Gateway token:  {first.token}
        Both are shown this once.""")


def _recipes(url: str, providers: list[AiProvider], token: str) -> list[Recipe]:
    """Return curl's, Claude Code's and Codex' recipes, as far as providers fit."""
    speaks_messages = [row for row in providers if _speaks(row, "v1/messages")]
    speaks_responses = [row for row in providers if _speaks(row, "v1/responses")]
    wanted = [
        (speaks_messages or speaks_responses, "curl"),
        (speaks_messages, "Claude Code"),
        (speaks_responses, "Codex"),
    ]
    return [
        recipe
        for rows, client in wanted
        if rows
        for recipe in recipes_for(rows[0].kind, Target(url, rows[0].name, token))
        if recipe.client == client
    ]


def _speaks(row: AiProvider, route: str) -> bool:
    return route in spec_of(row.kind).bridged


def _recipe(recipe: Recipe) -> str:
    if recipe.client == "Claude Code":
        # One way is enough here; the admin shows all.
        shown = [f"{recipe.snippets[0].text}\nclaude"]
    elif len(recipe.snippets) == 1:
        shown = [recipe.snippets[0].text]
    else:
        shown = [f"# {snippet.where}\n{snippet.text}" for snippet in recipe.snippets]
    text = "\n\n".join(shown)
    return f"{recipe.client}:\n{textwrap.indent(text, '  ')}"
