#!/bin/sh
# Bring docker-compose.yml up with API keys and mutual TLS between gateway and workers, and ask: without a key, with one, with
# a worker that has no certificate. Ends with status 0 only if the first is refused, the second is answered, and the
# third is left out and named, while the other worker goes on. The images have to be there; takes everything down again.
#
#   deploy/compose/check-trust.sh photograph.jpg
#
# HOST_NETWORK, HOST_PORTS, REDIS_IMAGE, DOCKER and COMPOSE as in check.sh. Needs to be root, for the files are the containers'.
set -eu

PHOTOGRAPH=$(realpath "${1:?a photograph}")
cd "$(dirname "$0")/../.."
. deploy/compose/checking.sh
PROJECT=lexiseg-check-trust
address
TLS=$(mktemp -d)
export TLS
FILES="$FILES -f deploy/compose/tls.yml"
ENV=$(mktemp)
export LEXISEG_ENV_FILE="$ENV"
finish() {
    status=$?
    [ "$status" = 0 ] || compose logs --tail=20 || true
    take_down
    rm -r "$TLS" "$ENV"
    exit "$status"
}
trap finish EXIT
# Of the gateway itself: the edge names no workers.
ready() {
    compose exec -T gateway python -c 'import os, urllib.request as web
print(web.urlopen("http://127.0.0.1:%s/readyz" % os.environ["LEXISEG_HTTP_PORT"]).read().decode())'
}
until_ready() {  # what the answer holds
    for _ in $(seq 180); do
        case "$(ready 2>/dev/null || true)" in *"$1"*) return ;; esac
        sleep 1
    done
    ready
    fail "no $1 in three minutes"
}
ask() { curl -sS -o /dev/null -w '%{http_code}' "$@" -F image=@"$PHOTOGRAPH" -F classes=sky "$URL/segment"; }

say "certificates and a key"
deploy/certificates.sh "$TLS"
chown -R 10001:10001 "$TLS"
# `lexiseg keys new` prints the key on standard error, and its line for the service on standard output.
LEXISEG_API_KEYS=$($DOCKER run --rm --network none lexiseg-gateway:local keys new check 2>"$TLS/key")
printf 'LEXISEG_API_KEYS=%s\n' "$LEXISEG_API_KEYS" >"$ENV"
key=$(grep -o 'lexiseg_[A-Za-z0-9_-]*' "$TLS/key" | tail -1)

say "up: one worker with its certificate, one without"
! curl -fs -o /dev/null "$URL/livez" || fail "something answers at $URL already: choose other ports"
compose up -d --no-build
until_ready "no trust by TLS"
ready

say "keys"
echo "without: $(ask), another: $(ask -H "Authorization: Bearer lexiseg_wrong"), ours: $(ask -H "Authorization: Bearer $key")"
[ "$(ask)" = 401 ] || fail "without a key it is not refused"
bad=0
for _ in $(seq 10); do
    [ "$(ask -H "Authorization: Bearer $key")" = 200 ] || bad=$((bad + 1))
done
echo "10 requests, $bad not answered with 200"
[ "$bad" = 0 ] || fail "requests were lost"

say "stop"
compose stop --timeout 40 >/dev/null 2>&1
say "ok"
