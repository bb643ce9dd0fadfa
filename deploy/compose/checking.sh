# Shared by the checks beside this file, and sourced in the folder of docker-compose.yml. A check sets PROJECT and FILES, or
# calls `address`, then `compose`. DOCKER and COMPOSE name the two commands.
DOCKER=${DOCKER:-docker}
if [ -z "${COMPOSE:-}" ]; then
    if $DOCKER compose version >/dev/null 2>&1; then COMPOSE="$DOCKER compose"; else COMPOSE=docker-compose; fi
fi
# A shell that a signal ends does not run what `trap ... EXIT` names; dash is one.
trap 'exit 130' INT TERM
FLAT=$(mktemp)  # docker-compose.yml without published ports, which the host's network does not take
compose() { $COMPOSE --project-directory "$PWD" $FILES -p $PROJECT "$@"; }
say() { printf '\n== %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
take_down() { compose down --volumes --timeout 30 >/dev/null 2>&1 || true; rm -f "$FLAT"; }
# Containers of the two workers, one a line.
workers() {
    if [ "${HOST_NETWORK:-}" = 1 ]; then compose ps -q worker; compose ps -q worker-2; else compose ps -q worker; fi
}
# Where the edge answers: URL and REDIS_PORT, and the FILES that put it there.
address() {
    URL=http://127.0.0.1:${LEXISEG_HTTP_PORT:-8000}
    REDIS_PORT=6379
    FILES="-f docker-compose.yml"
    [ "${HOST_NETWORK:-}" = 1 ] || return 0
    sed '/^    ports:/d' docker-compose.yml >"$FLAT"
    FILES="-f $FLAT -f deploy/compose/host-network.yml"
    : "${HOST_PORTS:=18}"
    export HOST_PORTS
    URL=http://127.0.0.1:${HOST_PORTS}080
    REDIS_PORT=${HOST_PORTS}379
}
