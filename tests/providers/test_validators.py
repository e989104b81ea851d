"""What a provider's name and base URL may be."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from providers.kinds import KINDS
from providers.validators import validate_base_url, validate_provider_name


@pytest.fixture(autouse=True)
def strict(settings):
    """Judge as a production server does."""
    settings.AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS = False
    settings.AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS = False


@pytest.mark.parametrize("name", ["a", "openai", "openai-main-2", "0"])
def test_name_that_fits_a_url_is_accepted(name):
    validate_provider_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "a--b", "A", "a_b", "a b", "a/b", "a.b", "ä", "a\n", "sessions"],
)
def test_name_that_does_not_is_refused(name):
    with pytest.raises(ValidationError):
        validate_provider_name(name)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://gateway.example.com:8080/base",
        "https://[2606:4700::1]/v1",
        "https://8.8.8.8/v1",
    ],
)
def test_public_address_is_accepted(url):
    validate_base_url(url)


def test_default_addresses_of_all_kinds_are_accepted():
    for spec in KINDS.values():
        validate_base_url(spec.default_base_url)


FORBIDDEN_ALWAYS = [
    "http://169.254.169.254/latest",
    "http://[fe80::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://metadata.google.internal/",
    "http://metadata.google.internal./",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
]
MALFORMED = [
    "ftp://example.com",
    "example.com",
    "//example.com",
    "https://",
    "https://user:pass@example.com",
    "https://example.com?x=1",
    "https://example.com#x",
    "https://example.com:port",
    "https://[bad",
    "javascript:alert(1)",
    "file:///etc/passwd",
]
PRIVATE = [
    "http://10.0.0.1",
    "http://192.168.1.1",
    "http://172.16.0.1",
    "http://[fd00::1]",
    "http://100.64.0.1",
]
LOOPBACK = ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"]


@pytest.mark.parametrize("url", FORBIDDEN_ALWAYS + MALFORMED + PRIVATE + LOOPBACK)
def test_address_that_must_not_get_a_key_is_refused(url):
    with pytest.raises(ValidationError):
        validate_base_url(url)


@pytest.mark.parametrize("url", FORBIDDEN_ALWAYS)
def test_metadata_addresses_stay_forbidden_whatever_is_allowed(url, settings):
    settings.AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS = True
    settings.AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS = True
    with pytest.raises(ValidationError):
        validate_base_url(url)


@pytest.mark.parametrize("url", PRIVATE + LOOPBACK)
def test_private_addresses_may_be_allowed(url, settings):
    settings.AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS = True
    validate_base_url(url)


@pytest.mark.parametrize("url", LOOPBACK)
def test_loopback_may_be_allowed_alone(url, settings):
    settings.AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS = True
    validate_base_url(url)


def test_loopback_allowed_alone_opens_no_other_private_address(settings):
    settings.AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS = True
    with pytest.raises(ValidationError):
        validate_base_url("http://10.0.0.1")
