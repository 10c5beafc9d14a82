#!/bin/sh
# Runs once, when the database is created. The app's login has to exist before `finpay migrate`,
# which grants its rights; it owns nothing.
set -eu
psql --set ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set password="$FINPAY_APP_PASSWORD" <<'SQL'
CREATE ROLE finpay_app LOGIN PASSWORD :'password';
SQL
