# syntax=docker/dockerfile:1

# FinPay as an image: `finpay serve`, `finpay worker`, `finpay migrate`.
#
#   docker build -t finpay .
#   docker run --read-only --tmpfs /tmp -p 3000:3000 --env-file .env finpay
#
# The first stage installs the versions of uv.lock from wheels, compiled to bytecode. The second has
# these and Python: no uv, no compiler, no tests, no development servers.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build

ARG UV_VERSION=0.13.9
# The cache is a mount: hard links into it are impossible.
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/finpay \
    UV_PYTHON_DOWNLOADS=never
# For `strip` below; not in the final image, so its version is that of the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}"

WORKDIR /src
# Dependencies first: they change less often than the code, and this layer is kept between builds.
COPY pyproject.toml uv.lock ./
# Packages that nothing imports here: of flask-swagger-ui only the files are served, and pycparser is
# for compiling with cffi. fpdf2 needs pillow for images alone; the base image has the time zones.
ARG UNUSED="--no-install-package flask --no-install-package werkzeug --no-install-package jinja2 \
    --no-install-package markupsafe --no-install-package itsdangerous --no-install-package blinker \
    --no-install-package pycparser --no-install-package pillow --no-install-package tzdata"
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv sync --locked --no-dev --extra server $UNUSED --no-install-project --no-build
COPY README.md LICENSE ./
COPY src ./src
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv sync --locked --no-dev --extra server $UNUSED --no-editable
# Delete files that a server never uses: debugging symbols, C sources, Swagger's editor, the lexers of
# languages other than Python (tracebacks are highlighted), the compiled copies of fontTools' modules.
RUN find /opt/finpay -name '*.so' -exec strip --strip-unneeded {} + \
    && find /opt/finpay -path '*/flask_swagger_ui/dist/*' -type f ! -name LICENSE \
        ! -name swagger-ui.css ! -name swagger-ui-bundle.js ! -name favicon-32x32.png -delete \
    && find /opt/finpay -path '*/pygments/lexers/*' -type f ! -name '__init__*' \
        ! -name '_mapping*' ! -name 'python.*' -delete \
    && find /opt/finpay -path '*/fontTools/*.so' -delete \
    && find /opt/finpay/lib -regex '.*\.\(c\|h\|pxd\|pyx\)' -delete

FROM python:${PYTHON_VERSION}-slim

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="FinPay" \
    org.opencontainers.image.description="A payment API you can run alone and trust with money." \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="MIT"

COPY --from=build /opt/finpay /opt/finpay
# Only /tmp has to be writable: the processes share Prometheus' counters in a temporary folder there.
ENV PATH=/opt/finpay/bin:$PATH \
    FINPAY_ENV=production \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/finpay
# A number: Kubernetes can check that it is not root.
USER 10001:10001
EXPOSE 3000
# Liveness, not readiness: a container must not be replaced because PostgreSQL is unavailable.
# Readiness is /readyz, as in docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-m", "finpay.app.healthcheck", "/livez"]
# No ENTRYPOINT: platforms replace the whole command, as in `finpay worker`.
CMD ["finpay", "serve"]
