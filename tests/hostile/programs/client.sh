#!/bin/sh
# curl with --http2, which says Upgrade: h2c over plain TCP, and with a body in chunks.
set -eu
url=$1/api/v1 email=$2 password=$3 new_email=$4 key=$5

post() {
    path=$1
    shift
    curl --silent --show-error --http2 -H 'Content-Type: application/json' "$@" "$url$path"
}

member() {
    sed -E "s/.*\"$1\":\"?([^\",}]+).*/\1/"
}

receiver=$(post /auth/register -d "{\"email\":\"$new_email\",\"password\":\"$password\"}" |
    grep -o 'acc_[a-z0-9]*' | head -n 1)
token=$(post /auth/login -d "{\"email\":\"$email\",\"password\":\"$password\"}" | member access_token)
body="{\"receiver_id\":\"$receiver\",\"amount\":5,\"description\":\"Größe\"}"

send() {
    post /transactions -w ' %{http_code}' -H "Authorization: Bearer $token" \
        -H "X-Idempotency-Key: $key" "$@" |
        sed -E 's/.*(txn_[a-z0-9]+).* ([0-9]+)$/\2 \1/'
}

first=$(send -d "$body")
again=$(printf %s "$body" | send -H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue' \
    --data-binary @-)
balance=$(curl --silent --http1.0 -H "Authorization: Bearer $token" "$url/accounts" | member balance)
echo "$first $again $balance"
