"""Settings: their defaults, and an error with the name for every invalid value."""

from ipaddress import ip_network

import pydantic
import pytest

from finpay import setting_values, settings
from finpay.settings import RateLimit, SettingsError, read

SECRET = "a-secret-of-our-own-that-is-long-enough"


def test_empty_environment_has_the_documented_defaults() -> None:
    found = read({})
    assert (found.env, found.production, found.host, found.port) == (
        "development", False, "127.0.0.1", 3000,
    )  # fmt: skip
    assert found.rate_limit_global == RateLimit(100, 900)
    assert found.rate_limit_auth == RateLimit(10, 900)
    assert found.rate_limit_transaction == RateLimit(20, 60)
    assert (found.access_token_ttl_s, found.refresh_token_ttl_s) == (900, 2_592_000)
    assert found.idempotency_ttl_s == 86_400
    assert (found.trusted_proxies, found.cors_origins, found.metrics_token) == ((), (), None)
    assert found.log_level == "info"
    assert found.workers >= 1


def test_empty_value_is_the_default() -> None:
    assert read({"FINPAY_METRICS_TOKEN": "", "PORT": "", "FINPAY_JWT_SECRET": ""}) == read({})


@pytest.mark.contract("4.1.3")
@pytest.mark.parametrize(
    "name", ["FINPAY_RATE_LIMIT_TRANSACTIONS", "FINPAY_", "FINPAY_PORT", "FINPAY_Workers"]
)
def test_unknown_name_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read({name: "1"})


def test_names_without_the_prefix_are_ignored() -> None:
    assert read({"PATH": "/bin", "finpay_workers": "x", "XFINPAY_A": "1"}) == read({})


@pytest.mark.contract("4.1.3")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FINPAY_ENV", "prod"), ("PORT", "65536"), ("PORT", "-1"), ("PORT", "http"),
        ("FINPAY_WORKERS", "0"), ("FINPAY_WORKERS", "many"), ("FINPAY_ACCESS_TOKEN_TTL", "0"),
        ("FINPAY_REFRESH_TOKEN_TTL", "-5"),
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
def test_invalid_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read({name: value})


def test_valid_values_are_read() -> None:
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


def test_owner_url_is_the_apps_url_unless_set() -> None:
    app, owner = "postgresql://app@h/d", "postgresql://owner@h/d"
    assert read({"DATABASE_URL": app}).owner_url == app
    both = read({"DATABASE_URL": app, "FINPAY_DATABASE_OWNER_URL": owner})
    assert (both.database_url, both.owner_url) == (app, owner)


ORIGINS = [
    # value                            what the error says to write; None: accepted
    ("https://shop.example",           None),
    ("http://localhost:5173",          None),
    ("https://shop.example:8443",      None),
    ("http://127.0.0.1:8080",          None),
    ("http://[::1]:3000",              None),
    ("https://xn--bcher-kva.example",  None),
    ("capacitor://localhost",          None),
    ("https://shop.example:80",        None),
    ("https://a b.example",            "such as"),
    ("https://shop.example/",          "https://shop.example"),
    ("https://shop.example/app",       "https://shop.example"),
    ("https://shop.example?a=1",       "https://shop.example"),
    ("https://shop.example#top",       "https://shop.example"),
    ("https://Shop.example",           "https://shop.example"),
    ("HTTPS://shop.example",           "https://shop.example"),
    ("https://shop.example:443",       "https://shop.example"),
    ("http://shop.example:80",         "http://shop.example"),
    ("https://shop.example:08443",     "https://shop.example:8443"),
    ("https://user:hunter2@shop.example", "https://shop.example"),
    ("https://bücher.example",         "https://xn--bcher-kva.example"),
    ("http://[0:0::1]",                "http://[::1]"),
    ("shop.example",                   "https://shop.example or"),
    ("localhost:5173",                 "https://shop.example or"),
    ("//shop.example",                 "https://shop.example or"),
    ("https://",                       "https://shop.example or"),
    ("https://shop.example:http",      "https://shop.example or"),
    ("https://shop.example:99999",     "https://shop.example or"),
    ("http://[::g]",                   "https://shop.example or"),
    ("https://*.shop.example",         "such as"),
    ("*",                              "such as https://shop.example"),
    ("null",                           "such as https://shop.example"),
]  # fmt: skip


@pytest.mark.fault("H8")
@pytest.mark.parametrize(("value", "advice"), ORIGINS)
def test_origin_that_no_browser_sends_is_refused(value: str, advice: str | None) -> None:
    listed = f"https://first.example,{value}"
    if advice is None:
        read({"FINPAY_CORS_ORIGINS": listed})
        return
    with pytest.raises(SettingsError, match=r"^FINPAY_CORS_ORIGINS: ") as refused:
        read({"FINPAY_CORS_ORIGINS": listed})
    assert advice in str(refused.value)
    assert "hunter2" not in str(refused.value)


NEON = "postgresql://app:pw@ep-x.eu.aws.neon.tech/neondb"
DATABASE_URLS = [
    # as the provider shows it                              as the drivers get it
    (f"{NEON}?sslmode=require&channel_binding=require",     f"{NEON}?sslmode=require"),
    (f"{NEON}?channel_binding=require",                     NEON),
    (f"{NEON}?channel%5Fbinding=require&sslmode=require",   f"{NEON}?sslmode=require"),
    (f"{NEON}?schema=public",                               NEON),
    (f"{NEON}?pgbouncer=true&connection_limit=1",           NEON),
    (f"{NEON}?connect_timeout=10&application_name=shop",    f"{NEON}?application_name=shop"),
    (f"{NEON}?options=endpoint%3Dep-x&gssencmode=disable",  f"{NEON}?options=endpoint%3Dep-x"),
    (f"{NEON}?keepalives=1&keepalives_idle=30",             NEON),
    (f"{NEON}?",                                            NEON),
    (f"{NEON}?sslrootcert=%2Fa%26b",                        f"{NEON}?sslrootcert=%2Fa%26b"),
    ("postgres://h:1,i:2/d?target_session_attrs=primary",   None),
    (f"{NEON}?require_auth=scram-sha-256",                  None),
    (NEON,                                                  None),
]  # fmt: skip


@pytest.mark.fault("O5")
@pytest.mark.parametrize(("given", "used"), DATABASE_URLS)
def test_parameters_of_other_drivers_are_dropped_from_database_urls(
    given: str, used: str | None
) -> None:
    used = used or given
    found = read({"DATABASE_URL": given, "FINPAY_DATABASE_OWNER_URL": given})
    assert (found.database_url, found.owner_url) == (used, used)
    assert setting_values.normalise_database_url(used) == used


class TestProduction:
    def test_production_listens_on_all_addresses(self) -> None:
        found = read({"FINPAY_ENV": "production", "FINPAY_JWT_SECRET": SECRET})
        assert (found.production, found.host) == (True, "0.0.0.0")  # noqa: S104
        set_by_user = read({"FINPAY_ENV": "production", "FINPAY_JWT_SECRET": SECRET, "HOST": "::1"})
        assert set_by_user.host == "::1"

    @pytest.mark.contract("4.1.4")
    @pytest.mark.parametrize(
        "secret",
        [None, settings.DEVELOPMENT_SECRET, f"{SECRET},{settings.DEVELOPMENT_SECRET}"],
    )
    def test_production_needs_its_own_secret(self, secret: str | None) -> None:
        given = {"FINPAY_ENV": "production"} | ({"FINPAY_JWT_SECRET": secret} if secret else {})
        with pytest.raises(SettingsError, match="FINPAY_JWT_SECRET"):
            read(given)


def test_secrets_are_never_shown() -> None:
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


def test_settings_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError):
        read({}).port = 1
