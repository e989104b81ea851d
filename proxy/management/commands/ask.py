"""``manage.py ask``: send a prompt through the running gateway as a client would."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from providers.kinds import CHAT, MESSAGES, RESPONSES, spec_of
from providers.management.operator import operator_name, unusable_database
from providers.models import AiProvider
from proxy import tokens
from proxy.recipes import MODELS

_APIS = {"messages": MESSAGES, "chat": CHAT, "responses": RESPONSES}
_TOKEN_MINUTES = 10


class Command(BaseCommand):
    help = (
        "Send a prompt through the running gateway with the official anthropic or "
        "openai SDK, and print the streamed answer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("prompt", metavar="PROMPT")
        parser.add_argument(
            "--provider", metavar="NAME", help="default: the first that speaks the API"
        )
        parser.add_argument(
            "--api",
            choices=sorted(_APIS),
            help="default: messages if the provider speaks it, else chat",
        )
        parser.add_argument(
            "--model", help="default: a current one of the API's vendor"
        )
        parser.add_argument(
            "--token",
            default=os.environ.get("AIBRIDGE_TOKEN", ""),
            help="a gateway token; default: AIBRIDGE_TOKEN, else one that is made for "
            "an administrator and revoked afterwards",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            provider, api = _choose(options["provider"], options["api"])
            with _token(options["token"]) as token:
                base = f"{settings.AIBRIDGE_PUBLIC_URL}/aibridge/{provider.name}"
                if api != "messages" and spec_of(provider.kind).route_prefix:
                    base += "/v1"
                model = options["model"] or MODELS[_vendor(api)]
                for piece in _ASK[api](base, token, model, options["prompt"]):
                    self.stdout.write(piece, ending="")
                    self.stdout.flush()
        except DatabaseError as error:
            raise CommandError(unusable_database(error)) from error
        self.stdout.write("")


def _choose(name: str | None, api: str | None) -> tuple[AiProvider, str]:
    """Return a provider and an API that it speaks; raises CommandError."""
    rows = AiProvider.objects.filter(enabled=True)
    for row in rows.filter(name=name) if name else rows:
        spoken = spec_of(row.kind).bridged.values()
        for wanted in [api] if api else ["messages", "chat"]:
            if _APIS[wanted] in spoken:
                return row, wanted
    which = f"{name!r}" if name else "any name"
    raise CommandError(f"no enabled provider of {which} speaks {api or 'an API'}")


def _vendor(api: str) -> str:
    return MESSAGES if api == "messages" else CHAT


@contextmanager
def _token(given: str) -> Iterator[str]:
    """Yield the token, or one that lives only for this call."""
    if given:
        yield given
        return
    owner = get_user_model().objects.filter(is_active=True, is_staff=True).first()
    if owner is None:
        raise CommandError("there is no administrator to ask for; use --token")
    expires_at = timezone.now() + timedelta(minutes=_TOKEN_MINUTES)
    actor = operator_name()
    row, raw = tokens.create(owner, "manage.py ask", expires_at, actor=actor)
    try:
        yield raw
    finally:
        tokens.revoke(row, actor=actor)


def _messages(base: str, token: str, model: str, prompt: str) -> Iterator[str]:
    import anthropic

    client = anthropic.Anthropic(base_url=base, api_key=token, max_retries=0)
    turn: Any = {"role": "user", "content": prompt}
    try:
        with client.messages.stream(
            model=model, max_tokens=4096, messages=[turn]
        ) as stream:
            yield from stream.text_stream
    except anthropic.APIError as error:
        raise CommandError(_refusal(base, error)) from error


def _chat(base: str, token: str, model: str, prompt: str) -> Iterator[str]:
    import openai

    client = openai.OpenAI(base_url=base, api_key=token, max_retries=0)
    turn: Any = {"role": "user", "content": prompt}
    try:
        for chunk in client.chat.completions.create(
            model=model, messages=[turn], stream=True
        ):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content
    except openai.APIError as error:
        raise CommandError(_refusal(base, error)) from error


def _responses(base: str, token: str, model: str, prompt: str) -> Iterator[str]:
    import openai

    client = openai.OpenAI(base_url=base, api_key=token, max_retries=0)
    try:
        for event in client.responses.create(model=model, input=prompt, stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta
    except openai.APIError as error:
        raise CommandError(_refusal(base, error)) from error


_ASK = {"messages": _messages, "chat": _chat, "responses": _responses}


def _refusal(base: str, error: Exception) -> str:
    status = getattr(error, "status_code", None)
    if status is None:
        return f"no answer from {base} ({error}); is the gateway running?"
    return f"the gateway answered {status}: {error}"
