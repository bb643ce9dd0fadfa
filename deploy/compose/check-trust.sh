#!/bin/sh
# Brings the profile `cpu` up with API keys and mutual TLS between gateway and workers, and asks: without a key, with one,
# with a worker that has no certificate. Ends with status 0 only if the first is refused, the second is answered, and the
# third is left out and named, while the other worker goes on. The images have to be there; takes everything down again.
#
#   deploy/compose/check-trust.sh photograph.jpg
#
# HOST_NETWORK, HOST_PORTS, REDIS_IMAGE, DOCKER and COMPOSE as in check.sh. Needs to be root, for the files are the containers'.
set -eu

PHOTOGRAPH=$(realpath "${1:?a photograph}")
cd "$(dirname "$0")/../.."
DOCKER=${DOCKER:-docker}
if [ -z "${COMPOSE:-}" ]; then
    if $DOCKER compose version >/dev/null 2>&1; then COMPOSE="$DOCKER compose"; else COMPOSE=docker-compose; fi
fi
PROJECT=lexiseg-check-trust
URL=http://127.0.0.1:${LEXISEG_HTTP_PORT:-8000}
FILES="-f docker-compose.yml -f docker-compose.override.yml"
if [ "${HOST_NETWORK:-}" = 1 ]; then
    : "${HOST_PORTS:=18}"
    export HOST_PORTS
    URL=http://127.0.0.1:${HOST_PORTS}000
    FILES="-f docker-compose.yml -f deploy/compose/host-network.yml"
fi
export COMPOSE_PROFILES=cpu REDIS_PASSWORD=of-the-check GRAFANA_PASSWORD=of-the-check
export LEXISEG_WORKER_TOKEN=token-of-the-check
TLS=$(mktemp -d)
export TLS
compose() { $COMPOSE $FILES -f deploy/compose/tls.yml -p $PROJECT "$@"; }
say() { printf '\n== %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
finish() {
    status=$?
    [ "$status" = 0 ] || compose logs --tail=20 || true
    compose down --volumes --timeout 30 >/dev/null 2>&1 || true
    rm -r "$TLS"
    exit "$status"
}
trap finish EXIT
ready() { curl -sS "$URL/readyz"; echo; }
until_ready() {  # what the answer holds
    for _ in $(seq 180); do
        case "$(curl -sS "$URL/readyz" 2>/dev/null || true)" in *"$1"*) return ;; esac
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
export LEXISEG_API_KEYS
key=$(grep -o 'lexiseg_[A-Za-z0-9_-]*' "$TLS/key" | tail -1)

say "up"
! curl -fs -o /dev/null "$URL/livez" || fail "something answers at $URL already: choose other ports"
compose up -d --no-build
until_ready "2 of 2 workers are ready"
ready

say "keys"
echo "without: $(ask), another: $(ask -H "Authorization: Bearer lexiseg_wrong"), ours: $(ask -H "Authorization: Bearer $key")"
[ "$(ask)" = 401 ] || fail "without a key it is not refused"
[ "$(ask -H "Authorization: Bearer $key")" = 200 ] || fail "with its key it is not answered"

say "a worker without its certificate"
# The same worker without tls.yml.
$COMPOSE $FILES -p $PROJECT up -d --no-build --no-deps worker-2
until_ready "no trust by TLS"
ready
bad=0
for _ in $(seq 10); do
    [ "$(ask -H "Authorization: Bearer $key")" = 200 ] || bad=$((bad + 1))
done
echo "10 requests, $bad not answered with 200"
[ "$bad" = 0 ] || fail "requests were lost"

say "and with it"
compose up -d --no-build --no-deps worker-2
until_ready "2 of 2 workers are ready"
ready

say "stop"
compose stop --timeout 40 >/dev/null 2>&1
say "ok"
