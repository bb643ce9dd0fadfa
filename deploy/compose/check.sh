#!/bin/sh
# Builds the images, brings the whole of docker-compose.yml up, segments a photograph through it, kills a worker and
# sees it healed. Ends with status 0 only if all of that holds; takes everything down again.
#
#   BASE_IMAGE=... REDIS_IMAGE=... PIP_ARGS=... deploy/compose/check.sh [photograph.jpg]
#
# HOST_NETWORK=1 puts all containers on the host's network (deploy/compose/host-network.yml), for engines without a
# bridge. DOCKER and COMPOSE name the two commands, e.g. COMPOSE="docker compose".
set -eu

cd "$(dirname "$0")/../.."
DOCKER=${DOCKER:-docker}
COMPOSE=${COMPOSE:-docker-compose}
PHOTOGRAPH=${1:-}
URL=http://127.0.0.1:${LEXISEG_HTTP_PORT:-8000}
FILES="-f docker-compose.yml -f docker-compose.override.yml"
if [ "${HOST_NETWORK:-}" = 1 ]; then
    FILES="-f docker-compose.yml -f deploy/compose/host-network.yml"
    URL=http://127.0.0.1:18000
fi
compose() { $COMPOSE $FILES -p lexiseg-check "$@"; }
say() { printf '\n== %s\n' "$*"; }
finish() {
    status=$?
    [ "$status" = 0 ] || compose logs --tail=20 || true
    compose down --volumes --timeout 30 >/dev/null 2>&1 || true
    exit "$status"
}
trap finish EXIT

say "images"
export DOCKER_BUILDKIT=1
for target in gateway worker; do
    # --network=host: for registries that only the host reaches.
    $DOCKER build -q --network=host --target "$target" -t "lexiseg-$target" \
        --build-arg BASE_IMAGE="${BASE_IMAGE:-python:3.11-slim-bookworm}" --build-arg PIP_ARGS="${PIP_ARGS:-}" . >/dev/null
    $DOCKER image inspect -f "lexiseg-$target: {{.Size}} bytes" "lexiseg-$target"
done

say "up"
compose up -d --no-build
for _ in $(seq 120); do
    curl -fs "$URL/readyz" >/dev/null 2>&1 && break
    sleep 1
done
curl -fsS "$URL/readyz"; echo
compose ps

say "a photograph"
ask() {
    if [ -n "$PHOTOGRAPH" ]; then
        curl -sS -o "$1" -w '%{http_code}' -F image=@"$PHOTOGRAPH" -F classes=building -F classes=sky "$URL/segment"
    else
        # 64 x 64 pixels of two colours, so that the check needs no file.
        python3 - "$1" "$URL" <<'PYTHON'
import json, struct, sys, urllib.request, zlib, base64
rows = b"".join(b"\0" + (b"\x40\x80\xff" if y < 32 else b"\x30\x90\x30") * 64 for y in range(64))
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
body = json.dumps({"image": {"base64": base64.b64encode(png).decode()}, "classes": ["sky", "grass"]}).encode()
request = urllib.request.Request(sys.argv[2] + "/segment", body, {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=30) as answer:
    open(sys.argv[1], "wb").write(answer.read())
    print(answer.status, end="")
PYTHON
    fi
}
answer=$(mktemp)
[ "$(ask "$answer")" = 200 ]
python3 -c "import json, sys; a = json.load(open(sys.argv[1])); print({s['label']: s['area'] for s in a['segments']}, a['size'], a['model'])" "$answer"

say "a worker is killed; every request must still be answered"
worker=$(compose ps -q worker-1)
# Its process, not the container: what is tested is the restart policy.
kill -9 "$($DOCKER inspect -f '{{.State.Pid}}' "$worker")"
bad=0
for _ in $(seq 20); do
    [ "$(ask "$answer")" = 200 ] || bad=$((bad + 1))
done
echo "20 requests, $bad not answered with 200"
[ "$bad" = 0 ]
for _ in $(seq 90); do
    [ "$($DOCKER inspect -f '{{.State.Health.Status}}' "$worker")" = healthy ] && break
    sleep 1
done
$DOCKER inspect -f 'worker-1: {{.State.Status}}, {{.State.Health.Status}}, restarted {{.RestartCount}} time(s)' "$worker"
[ "$($DOCKER inspect -f '{{.RestartCount}}' "$worker")" = 1 ]
sleep 3
curl -fsS "$URL/readyz"; echo

say "stop"
compose stop --timeout 40 >/dev/null 2>&1
for service in gateway worker-1 worker-2; do
    $DOCKER inspect -f "$service: exit {{.State.ExitCode}}" "$(compose ps -q "$service")"
done
echo ok
