#!/bin/sh
# Runs once, when the database is created. The logins of the app and of its routes of operators have
# to exist before `finpay migrate`, which grants their rights; they own nothing.
set -eu
psql --set ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set app="$FINPAY_APP_PASSWORD" --set operator="$FINPAY_OPERATOR_PASSWORD" <<'SQL'
CREATE ROLE finpay_app LOGIN PASSWORD :'app';
CREATE ROLE finpay_operator LOGIN PASSWORD :'operator';
SQL
