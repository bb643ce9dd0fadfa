# What the checks beside this file begin with. Sourced in the folder of docker-compose.yml; DOCKER and COMPOSE name the two
# commands. A check sets PROJECT and FILES, or calls `address`, then `compose`.
DOCKER=${DOCKER:-docker}
if [ -z "${COMPOSE:-}" ]; then
    if $DOCKER compose version >/dev/null 2>&1; then COMPOSE="$DOCKER compose"; else COMPOSE=docker-compose; fi
fi
# Of the check alone: what .env says is left alone.
export REDIS_PASSWORD=of-the-check GRAFANA_PASSWORD=of-the-check
export LEXISEG_WORKER_TOKEN=token-of-the-check
compose() { $COMPOSE $FILES -p $PROJECT "$@"; }
say() { printf '\n== %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
take_down() { compose down --volumes --timeout 30 >/dev/null 2>&1 || true; }
# Where a service answers: URL and REDIS_PORT, and the FILES that put it there.
address() {
    URL=http://127.0.0.1:${LEXISEG_HTTP_PORT:-8000}
    REDIS_PORT=6379
    FILES="-f docker-compose.yml -f docker-compose.override.yml"
    [ "${HOST_NETWORK:-}" = 1 ] || return 0
    FILES="-f docker-compose.yml -f deploy/compose/host-network.yml"
    : "${HOST_PORTS:=18}"
    export HOST_PORTS
    URL=http://127.0.0.1:${HOST_PORTS}000
    REDIS_PORT=${HOST_PORTS}379
}
