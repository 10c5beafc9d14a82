"""FinPay on Railway: the API, the worker, PostgreSQL and Redis, as one project.

`railway config plan` shows what would change, `railway config apply` does it;
docs/deployment/railway.md has the steps and what it costs.
"""

from typing import Any, Final

from railway_sdk import define_railway, github, group, postgres, preserve, project, redis, service

REPOSITORY: Final = "your-account/finpay"  # a fork of yours that Railway may read
BUILD: Final = {"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"}
# A drain is 1 s of notice, then up to 20 s for requests in flight. The old release overlaps with the
# new one, so that no connection is refused.
DRAINING_S: Final = 30
OVERLAP_S: Final = 10
READY_LIMIT_S: Final = 120


@define_railway
def main(ctx: Any = None) -> Any:
    """Everything that the environment holds."""
    production = ctx is None or ctx.is_environment("production")
    database = postgres("postgres")
    cache = redis("redis")
    environment = {
        "FINPAY_ENV": "production",
        # Set once with `railway variable set`: it is in no file, and is kept.
        "FINPAY_JWT_SECRET": preserve(),
        "DATABASE_URL": database.env.DATABASE_URL,
        "REDIS_URL": cache.env.REDIS_URL,
    }
    api = service(
        "api",
        source=github(REPOSITORY),
        build=BUILD,
        start="finpay serve",
        preDeploy="finpay migrate",
        healthcheck="/readyz",
        healthcheckTimeout=READY_LIMIT_S,
        replicas=2 if production else 1,
        deploy=_lifecycle(overlap_s=OVERLAP_S),
        env={**environment, "FINPAY_TRUSTED_PROXIES": "1", "FINPAY_METRICS_TOKEN": preserve()},
    )
    worker = service(
        "worker",
        source=github(REPOSITORY),
        build=BUILD,
        start="finpay worker",
        deploy=_lifecycle(overlap_s=0),
        env=environment,
    )
    return project("finpay", resources=[group("FinPay", [api, worker, database, cache])])


def _lifecycle(*, overlap_s: int) -> dict[str, Any]:
    return {
        "drainingSeconds": DRAINING_S,
        "overlapSeconds": overlap_s,
        "restartPolicyType": "ALWAYS",
    }
