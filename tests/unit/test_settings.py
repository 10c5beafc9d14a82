"""Settings: the defaults of DESIGN §9, and a clear word for whatever is misspelt."""

from ipaddress import ip_network

import pydantic
import pytest

from finpay import settings
from finpay.settings import RateLimit, SettingsError, read

SECRET = "a-secret-of-our-own-that-is-long-enough"


def test_an_empty_environment_has_the_documented_defaults() -> None:
    found = read({})
    assert (found.env, found.production, found.host, found.port) == (
        "development", False, "127.0.0.1", 3000,
    )  # fmt: skip
    assert found.rate_limit_global == RateLimit(100, 900)
    assert found.rate_limit_auth == RateLimit(10, 900)
    assert found.rate_limit_transaction == RateLimit(20, 60)
    assert (found.access_token_ttl_s, found.refresh_token_ttl_s) == (900, 2_592_000)
    assert (found.refresh_grace_s, found.idempotency_ttl_s) == (30, 86_400)
    assert (found.trusted_proxies, found.cors_origins, found.metrics_token) == ((), (), None)
    assert found.log_level == "info"
    assert found.workers >= 1


def test_an_empty_value_is_none() -> None:
    assert read({"FINPAY_METRICS_TOKEN": "", "PORT": "", "FINPAY_JWT_SECRET": ""}) == read({})


@pytest.mark.contract("4.1.3")
@pytest.mark.parametrize(
    "name", ["FINPAY_RATE_LIMIT_TRANSACTIONS", "FINPAY_", "FINPAY_PORT", "FINPAY_Workers"]
)
def test_an_unknown_name_is_refused_and_told(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read({name: "1"})


def test_names_that_are_not_ours_are_left_alone() -> None:
    assert read({"PATH": "/bin", "finpay_workers": "x", "XFINPAY_A": "1"}) == read({})


@pytest.mark.contract("4.1.3")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FINPAY_ENV", "prod"), ("PORT", "65536"), ("PORT", "-1"), ("PORT", "http"),
        ("FINPAY_WORKERS", "0"), ("FINPAY_WORKERS", "many"), ("FINPAY_ACCESS_TOKEN_TTL", "0"),
        ("FINPAY_REFRESH_TOKEN_TTL", "-5"), ("FINPAY_REFRESH_GRACE", "-1"),
        ("FINPAY_IDEMPOTENCY_TTL", "0"), ("FINPAY_LOG_LEVEL", "verbose"),
        ("FINPAY_RATE_LIMIT_GLOBAL", "100"), ("FINPAY_RATE_LIMIT_GLOBAL", "100/0"),
        ("FINPAY_RATE_LIMIT_GLOBAL", "0/60"), ("FINPAY_RATE_LIMIT_AUTH", "-1/60"),
        ("FINPAY_RATE_LIMIT_AUTH", "1.5/60"), ("FINPAY_RATE_LIMIT_TRANSACTION", "20/60s"),
        ("FINPAY_RATE_LIMIT_TRANSACTION", "OFF"), ("FINPAY_RATE_LIMIT_TRANSACTION", " 20/60"),
        ("FINPAY_TRUSTED_PROXIES", "10.0.0.1/8"), ("FINPAY_TRUSTED_PROXIES", "proxy"),
        ("FINPAY_TRUSTED_PROXIES", "-1"), ("FINPAY_JWT_SECRET", "short"),
        ("FINPAY_JWT_SECRET", f"{SECRET},short"), ("FINPAY_JWT_SECRET", " , "),
        ("DATABASE_URL", "mysql://localhost/x"), ("REDIS_URL", "http://localhost"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_under_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read({name: value})


def test_good_values_are_read() -> None:
    found = read(
        {
            "FINPAY_RATE_LIMIT_GLOBAL": "5/10", "FINPAY_RATE_LIMIT_AUTH": "off", "PORT": "0",
            "FINPAY_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8",
            "FINPAY_CORS_ORIGINS": "https://a.example , https://b.example",
            "FINPAY_JWT_SECRET": f"{SECRET}-1, {SECRET}-2",
        }
    )  # fmt: skip
    assert (found.rate_limit_global, found.rate_limit_auth, found.port) == (
        RateLimit(5, 10),
        None,
        0,
    )
    assert found.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert found.cors_origins == ("https://a.example", "https://b.example")
    assert found.jwt_secrets == (f"{SECRET}-1", f"{SECRET}-2")
    assert read({"FINPAY_TRUSTED_PROXIES": "2"}).trusted_proxies == 2


def test_the_owner_has_the_apps_url_unless_told() -> None:
    app, owner = "postgresql://app@h/d", "postgresql://owner@h/d"
    assert read({"DATABASE_URL": app}).owner_url == app
    both = read({"DATABASE_URL": app, "FINPAY_DATABASE_OWNER_URL": owner})
    assert (both.database_url, both.owner_url) == (app, owner)


class TestProduction:
    def test_listens_to_everybody(self) -> None:
        found = read({"FINPAY_ENV": "production", "FINPAY_JWT_SECRET": SECRET})
        assert (found.production, found.host) == (True, "0.0.0.0")  # noqa: S104
        told = read({"FINPAY_ENV": "production", "FINPAY_JWT_SECRET": SECRET, "HOST": "::1"})
        assert told.host == "::1"

    @pytest.mark.contract("4.1.4")
    @pytest.mark.parametrize(
        "secret",
        [None, settings.DEVELOPMENT_SECRET, f"{SECRET},{settings.DEVELOPMENT_SECRET}"],
    )
    def test_needs_a_secret_of_its_own(self, secret: str | None) -> None:
        given = {"FINPAY_ENV": "production"} | ({"FINPAY_JWT_SECRET": secret} if secret else {})
        with pytest.raises(SettingsError, match="FINPAY_JWT_SECRET"):
            read(given)


def test_no_secret_is_ever_shown() -> None:
    url = "postgresql://finpay:hunter2@db/finpay"
    found = read(
        {"FINPAY_JWT_SECRET": SECRET, "DATABASE_URL": url, "FINPAY_METRICS_TOKEN": "t0ken",
         "FINPAY_DATABASE_OWNER_URL": url, "REDIS_URL": "redis://:hunter2@db"}
    )  # fmt: skip
    for text in (repr(found), str(found)):
        assert SECRET not in text
        assert "hunter2" not in text
        assert "t0ken" not in text
    with pytest.raises(SettingsError) as refused:
        read({"FINPAY_JWT_SECRET": "hunter2"})
    assert "hunter2" not in str(refused.value)
    with pytest.raises(SettingsError) as refused:
        read({"DATABASE_URL": "mysql://finpay:hunter2@db"})
    assert "hunter2" not in str(refused.value)


def test_settings_never_change() -> None:
    with pytest.raises(pydantic.ValidationError):
        read({}).port = 1
