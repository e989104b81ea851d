"""Providers named in the environment, stored when they are first seen.

A seed never changes a row: what an administrator changed or deleted stays so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import IntegrityError, transaction
from environ.fileaware_mapping import FileAwareMapping

from providers.encryption import fingerprints
from providers.keystate import add_key
from providers.kinds import KINDS, Kind
from providers.models import AiProvider
from providers.validators import validate_base_url, validate_provider_name

_NUMBERED = re.compile(r"AIBRIDGE_PROVIDER_(\d+)_([A-Z_]+?)(?:_FILE)?")
_PARTS = ("NAME", "KIND", "BASE_URL", "KEYS")
_WELL_KNOWN = {"ANTHROPIC_API_KEY": Kind.ANTHROPIC, "OPENAI_API_KEY": Kind.OPENAI}


@dataclass(frozen=True, slots=True)
class Seed:
    """A provider as it should begin; ``source`` is the setting that names it."""

    source: str
    name: str
    kind: str
    base_url: str
    keys: tuple[str, ...] = field(default=(), repr=False)


def read_seeds(environment: Mapping[str, str] | None = None) -> list[Seed]:
    """Return the providers that the environment names.

    Raises ImproperlyConfigured with the name of the setting that is wrong.
    """
    environment = os.environ if environment is None else environment
    values = FileAwareMapping(env=environment)
    seeds = [*_well_known(values), *_numbered(environment, values)]
    seen: dict[str, str] = {}
    for seed in seeds:
        if seed.name in seen:
            raise ImproperlyConfigured(
                f"{seed.source}: {seen[seed.name]} already names {seed.name!r}"
            )
        seen[seed.name] = seed.source
    return seeds


def _well_known(values: FileAwareMapping) -> Iterator[Seed]:
    for setting, kind in _WELL_KNOWN.items():
        if key := _value(values, setting):
            yield Seed(setting, str(kind), kind, KINDS[kind].default_base_url, (key,))


def _numbered(
    environment: Mapping[str, str], values: FileAwareMapping
) -> Iterator[Seed]:
    numbers = set()
    for setting in environment:
        if not setting.startswith("AIBRIDGE_PROVIDER_"):
            continue
        match = _NUMBERED.fullmatch(setting)
        if match is None or match[2] not in _PARTS:
            parts = ", ".join(f"AIBRIDGE_PROVIDER_<N>_{part}" for part in _PARTS)
            raise ImproperlyConfigured(f"{setting}: use {parts}")
        numbers.add(match[1])
    for number in sorted(numbers, key=int):
        yield _seed(f"AIBRIDGE_PROVIDER_{number}", values)


def _seed(prefix: str, values: FileAwareMapping) -> Seed:
    kind = _value(values, f"{prefix}_KIND")
    if kind not in KINDS:
        kinds = ", ".join(sorted(KINDS))
        raise ImproperlyConfigured(f"{prefix}_KIND={kind!r}: use one of {kinds}")
    spec = KINDS[kind]
    name = _value(values, f"{prefix}_NAME") or kind
    base_url = _value(values, f"{prefix}_BASE_URL") or spec.default_base_url
    keys = [key.strip() for key in _value(values, f"{prefix}_KEYS").split(",")]
    keys = list(dict.fromkeys(key for key in keys if key))
    _check(f"{prefix}_NAME", validate_provider_name, name)
    if not base_url and kind != Kind.BEDROCK:
        raise ImproperlyConfigured(f"{prefix}_BASE_URL: {spec.label} needs one")
    _check(f"{prefix}_BASE_URL", validate_base_url, base_url)
    if keys and not spec.has_pool:
        raise ImproperlyConfigured(f"{prefix}_KEYS: {spec.label} takes no keys")
    return Seed(prefix, name, kind, base_url, tuple(keys))


def _value(values: FileAwareMapping, setting: str) -> str:
    try:
        return values.get(setting, "").strip()
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"{setting}: {error}") from None


def _check(setting: str, validate: Callable[[str], None], value: str) -> None:
    try:
        validate(value)
    except ValidationError as error:
        reason = " ".join(error.messages)
        raise ImproperlyConfigured(f"{setting}={value!r}: {reason}") from None


def store(seed: Seed) -> AiProvider | None:
    """Store the provider with its keys, or return None when its name is taken.

    A deleted provider takes its name, too. Raises ValidationError naming the field.
    """
    if AiProvider.all_objects.filter(name=seed.name).exists():
        return None
    try:
        with transaction.atomic():
            return create_provider(seed.name, seed.kind, seed.base_url, seed.keys)
    except IntegrityError:
        # Another node stored it between the two statements.
        return None


def create_provider(
    name: str, kind: str, base_url: str, keys: tuple[str, ...], *, trusted: bool = False
) -> AiProvider:
    """Store a provider and its keys in order; raises ValidationError.

    ``trusted`` says that the base URL is this program's own and may be local.
    """
    provider = AiProvider(name=name, kind=kind, base_url=base_url)
    # Bedrock's address follows from its region.
    unchecked = {"base_url"} if trusted or kind == Kind.BEDROCK else set()
    provider.full_clean(exclude=unchecked)
    with transaction.atomic():
        provider.save()
        for key in keys:
            add_key(provider, key, "")
    return provider


def drift(seed: Seed) -> list[str]:
    """Return which of kind, base URL and keys differ from the stored provider."""
    row = AiProvider.objects.filter(name=seed.name).first()
    if row is None:
        return []
    stored = set(row.keys.values_list("fingerprint", flat=True))
    known = all(stored & set(fingerprints(key)) for key in seed.keys)
    return [
        what
        for what, same in (
            ("kind", row.kind == seed.kind),
            ("base URL", row.base_url == seed.base_url),
            ("keys", known and len(stored) == len(seed.keys)),
        )
        if not same
    ]
