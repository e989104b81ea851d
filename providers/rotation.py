"""Encrypts every stored secret anew with the first encryption key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.db.models import ExpressionWrapper, F, TextField

from providers.encryption import (
    EncryptedTextField,
    UndecryptableSecret,
    decrypt,
    fingerprint,
)
from providers.models import ApiKey

_BATCH = 100


@dataclass(slots=True)
class Rotation:
    """How many secrets were encrypted anew, and which could not be."""

    done: int = 0
    failed: list[str] = field(default_factory=list)


def rotate_secrets() -> Rotation:
    """Encrypt all secrets of all tables anew, and make fingerprints anew.

    May run beside a serving gateway: a secret that changes meanwhile is left alone. It
    is encrypted with the first key anyway.
    """
    rotation = Rotation()
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, EncryptedTextField):
                _rotate_column(model, column.name, rotation)
    return rotation


def _rotate_column(model: type[models.Model], name: str, rotation: Rotation) -> None:
    for batch in _batches(model, name):
        with transaction.atomic():
            for pk, sealed in batch:
                _rotate_one(model, name, pk, sealed, rotation)


def _batches(model: type[models.Model], name: str) -> Iterator[list[tuple[Any, str]]]:
    rows = _sealed_rows(model, name).exclude(sealed="").order_by("pk")
    last = None
    while True:
        following = rows if last is None else rows.filter(pk__gt=last)
        batch = list(following.values_list("pk", "sealed")[:_BATCH])
        if not batch:
            return
        last = batch[-1][0]
        yield batch


def _sealed_rows(model: type[models.Model], name: str) -> models.QuerySet[Any]:
    # The base manager also finds what is deleted softly.
    sealed = ExpressionWrapper(F(name), output_field=TextField())
    return model._base_manager.annotate(sealed=sealed).filter(sealed__isnull=False)


def _rotate_one(
    model: type[models.Model], name: str, pk: Any, sealed: str, rotation: Rotation
) -> None:
    try:
        plain = decrypt(sealed)
    except UndecryptableSecret:
        rotation.failed.append(f"{model._meta.label} {pk}")
        return
    # Saving the plain text encrypts it with the first key.
    columns = {name: plain}
    if model is ApiKey:
        columns["fingerprint"] = fingerprint(plain)
    same = _sealed_rows(model, name).filter(pk=pk, sealed=sealed)
    rotation.done += same.update(**columns)
