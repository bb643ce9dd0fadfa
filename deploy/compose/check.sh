#!/bin/sh
# Build the images, bring docker-compose.yml up, segment a photograph through it, look at Redis and at the limits, kill a
# worker and wait until it is back. Status 0 only if all of that holds; everything is taken down again.
#
#   BASE_IMAGE=... REDIS_IMAGE=... HAPROXY_IMAGE=... TORCH_INDEX=... PIP_ARGS=... deploy/compose/check.sh [photograph.jpg]
#
# HOST_NETWORK=1 puts all containers on the host's network (deploy/compose/host-network.yml), for engines without a
# bridge; their ports begin with HOST_PORTS (18). BUILD=0 takes the images that are there. DOCKER and COMPOSE name the two
# commands, e.g. COMPOSE="docker compose".
set -eu

cd "$(dirname "$0")/../.."
. deploy/compose/checking.sh
PHOTOGRAPH=${1:-}
PROJECT=lexiseg-check
address
finish() {
    status=$?
    [ "$status" = 0 ] || compose logs --tail=20 || true
    take_down
    exit "$status"
}
trap finish EXIT

say "the engine"
$DOCKER version -f 'client {{.Client.Version}}, engine {{.Server.Version}}' || fail "no engine answers"
$COMPOSE version 2>/dev/null | head -1 || fail "neither the compose plugin nor docker-compose is there"
export DOCKER_BUILDKIT=1
if [ "${BUILD:-1}" = 1 ] && ! $DOCKER buildx version >/dev/null 2>&1; then
    # Before 23.0 the client builds with BuildKit by itself.
    [ "$($DOCKER version -f '{{.Client.Version}}' | cut -d. -f1)" -lt 23 ] || fail "BuildKit needs the buildx plugin"
fi
for limit in MemoryLimit CPUCfsQuota PidsLimit; do
    [ "$($DOCKER info -f "{{.$limit}}")" = true ] || fail "this engine has no $limit: what compose limits is not limited"
done
[ -n "$($DOCKER info -f '{{.InitBinary}}')" ] || fail "this engine has no init: SIGTERM may be lost"
compose config --quiet || fail "docker-compose.yml is not understood"

say "images"
if [ "${BUILD:-1}" = 1 ]; then
    for target in gateway worker; do
        # --network=host: for registries that only the host reaches.
        set -- --build-arg PIP_ARGS="${PIP_ARGS-}" --build-arg RUNTIME=cpu
        [ -z "${BASE_IMAGE:-}" ] || set -- "$@" --build-arg BASE_IMAGE="$BASE_IMAGE"
        [ -z "${TORCH_INDEX:-}" ] || set -- "$@" --build-arg TORCH_INDEX="$TORCH_INDEX"
        $DOCKER build -q --network=host --target "$target" -t "lexiseg-$target:local" "$@" . >/dev/null
    done
fi
for target in gateway worker; do
    $DOCKER image inspect -f "lexiseg-$target: {{.Size}} bytes" "lexiseg-$target:local"
done

say "up"
! curl -fs -o /dev/null "$URL/livez" || fail "something answers at $URL already: choose other ports"
compose up -d --no-build
set -- $(workers)
WORKER=$1
for _ in $(seq 180); do
    curl -fs "$URL/readyz" >/dev/null 2>&1 && break
    sleep 1
done
curl -fsS "$URL/readyz"; echo
compose ps

say "limits that the engine took over"
for container in $(compose ps -q); do
    service=$($DOCKER inspect -f '{{.Name}}' "$container")
    limits=$($DOCKER inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.Init}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.Config.User}}' "$container")
    echo "$service: $limits (memory, CPU, processes, init, read-only, without, user)"
    case " $limits" in *" 0 "* | *"<nil>"* | *"<no value>"* | *false*) fail "$service is not limited" ;; esac
done

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
status=$(ask "$answer")
[ "$status" = 200 ] || fail "no segments: status $status, $(head -c 300 "$answer")"
python3 -c "import json, sys; a = json.load(open(sys.argv[1])); print({s['label']: s['area'] for s in a['segments']}, a['size'], a['model'])" "$answer"

say "Redis keeps rows of texts and a vocabulary, and no process has given it up"
redis=$(compose ps -q redis)
if [ -n "${REDIS_PASSWORD:-}" ]; then
    said=$($DOCKER exec -e REDISCLI_AUTH= "$redis" redis-cli -p $REDIS_PORT ping 2>&1 || true)
    case "$said" in *NOAUTH*) echo "without its password: $said" ;; *) fail "without its password Redis said: $said" ;; esac
fi
curl -fsS -o /dev/null -X PUT -H 'Content-Type: application/json' -d '{"classes": ["sky", "building"]}' "$URL/vocabularies/of-the-check" ||
    fail "a vocabulary could not be kept"
keys=$($DOCKER exec "$redis" redis-cli -p $REDIS_PORT dbsize)
echo "keys: $keys"
[ "${keys##* }" -ge 2 ] || fail "Redis holds neither rows of texts nor the vocabulary"
for container in $(compose ps -q gateway) $(workers); do
    service=$($DOCKER inspect -f '{{.Name}}' "$container")
    port=$($DOCKER inspect -f '{{join .Config.Healthcheck.Test " "}}' "$container" | awk '{ print $NF }')
    case "$port" in *[!0-9]*) port=8000 ;; esac  # the gateway's own check
    $DOCKER exec "$container" python -c "
import sys, urllib.request
lines = urllib.request.urlopen('http://127.0.0.1:$port/metrics', timeout=10).read().decode().splitlines()
bad = [line for line in lines if line.startswith('lexiseg_redis_breaker_state{') and not line.endswith(' 0.0')]
bad += [line for line in lines if line.startswith('lexiseg_text_cache_total{result=\"error\"') and not line.endswith(' 0.0')]
links = [line for line in lines if line.startswith('lexiseg_redis_breaker_state{')]
print('$service:', len(links), 'links to Redis, closed') if links and not bad else sys.exit(f'$service: {bad or \"no link to Redis\"}')
" || fail "$service does without Redis"
done

say "a worker is killed; every request must still be answered"
restarts=$($DOCKER inspect -f '{{.RestartCount}}' "$WORKER")
# Its process, not the container: what is tested is the restart policy. The first one is the init; it would hand the
# signal on, so the server itself is killed.
kill -9 "$($DOCKER top "$WORKER" -eo pid,args | awk '/lexiseg worker/ && !/init/ { pid = $1 } END { print pid }')"
bad=0
for _ in $(seq 20); do
    [ "$(ask "$answer")" = 200 ] || bad=$((bad + 1))
done
echo "20 requests, $bad not answered with 200"
[ "$bad" = 0 ] || fail "requests were lost"
healthy() { [ "$($DOCKER inspect -f '{{.State.Health.Status}}' "$WORKER")" = healthy ]; }
for _ in $(seq 90); do
    healthy && break
    sleep 1
done
$DOCKER inspect -f '{{.Name}}: {{.State.Status}}, {{.State.Health.Status}}, restarted {{.RestartCount}} time(s)' "$WORKER"
healthy || fail "it is not healthy again"
[ "$($DOCKER inspect -f '{{.RestartCount}}' "$WORKER")" -gt "$restarts" ] || fail "it was not started again"
sleep 3
curl -fsS "$URL/readyz"; echo

say "SIGTERM in the first half second"
$DOCKER run -d --init --network none --name $PROJECT-early lexiseg-gateway:local gateway --workers 127.0.0.1:1 >/dev/null
$DOCKER stop -t 20 $PROJECT-early >/dev/null
early=$($DOCKER inspect -f '{{.State.ExitCode}}' $PROJECT-early)
$DOCKER rm -f $PROJECT-early >/dev/null
echo "exit $early"
case $early in 0 | 143) ;; *) fail "it had to be killed" ;; esac

say "stop"
compose stop --timeout 40 >/dev/null 2>&1
for container in $(compose ps -a -q 2>/dev/null || compose ps -q); do
    status=$($DOCKER inspect -f '{{.State.ExitCode}}' "$container")
    echo "$($DOCKER inspect -f '{{.Name}}' "$container"): exit $status"
    case $status in 0 | 143) ;; *) fail "it did not end by itself" ;; esac
done
echo ok
