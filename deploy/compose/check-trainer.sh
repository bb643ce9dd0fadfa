#!/bin/sh
# Trains a smoke recipe in the container of train.yml: killed by SIGKILL it goes on from its checkpoint, stopped by
# SIGTERM it ends with status 0, and what comes out is loaded and asked for a mask by the image of the workers. Ends with
# status 0 only if all of that holds; takes everything down again.
#
#   LEXISEG_DATA=/data BASE_IMAGE=... TORCH_INDEX=... PIP_ARGS=... deploy/compose/check-trainer.sh
#
# LEXISEG_DATA holds the data sets that the recipe names (docs/training.md). HOST_NETWORK, BUILD, DOCKER and COMPOSE as in
# check.sh. RECIPE is another than tiny-smoke.
set -eu

cd "$(dirname "$0")/../.."
. deploy/compose/checking.sh
PROJECT=lexiseg-check-trainer
RECIPE=${RECIPE:-tiny-smoke}
FILES="-f docker-compose.yml -f deploy/compose/train.yml"
export DOCKER_BUILDKIT=1
: "${LEXISEG_DATA:?the folder of the data sets}"
finish() {
    status=$?
    for name in first second stopped; do $DOCKER rm -f "$PROJECT-$name" >/dev/null 2>&1 || true; done
    take_down
    exit "$status"
}
trap finish EXIT
# A trainer of the name $1 that writes to runs/$2.
train() { compose run -d --name "$PROJECT-$1" trainer "$RECIPE" out="runs/$2" checkpoint_steps=10 log_steps=10 >/dev/null; }
told() { $DOCKER logs "$PROJECT-$1" 2>&1; }
running() { [ "$($DOCKER inspect -f '{{.State.Running}}' "$PROJECT-$1")" = true ]; }
until_step() {
    for _ in $(seq 600); do
        told "$1" | grep -q "\"step\": $2," && return
        running "$1" || { told "$1" | tail -5; fail "the trainer ended before step $2"; }
        sleep 1
    done
    fail "no step $2 in ten minutes"
}

say "images"
for target in trainer worker; do
    if [ "${BUILD:-1}" = 1 ]; then
        # --network=host: for registries that only the host reaches.
        set -- --build-arg PIP_ARGS="${PIP_ARGS-}" --build-arg RUNTIME=cpu
        [ -z "${BASE_IMAGE:-}" ] || set -- "$@" --build-arg BASE_IMAGE="$BASE_IMAGE"
        [ -z "${TORCH_INDEX:-}" ] || set -- "$@" --build-arg TORCH_INDEX="$TORCH_INDEX"
        $DOCKER build -q --network=host --target "$target" -t "lexiseg-$target:local" "$@" . >/dev/null
    fi
    $DOCKER image inspect -f "lexiseg-$target: {{.Size}} bytes, user {{.Config.User}}" "lexiseg-$target:local"
done

say "SIGKILL after a checkpoint; the same command goes on from it"
train first trained
until_step first 20
$DOCKER kill -s KILL "$PROJECT-first" >/dev/null
echo "exit $($DOCKER inspect -f '{{.State.ExitCode}}' "$PROJECT-first")"
train second trained
status=$($DOCKER wait "$PROJECT-second")
told second | grep -v '"step"'
told second | grep -q 'resumed at step [12]0' || fail "it began anew"
[ "$status" = 0 ] || fail "the trainer ended with status $status"

say "SIGTERM"
train stopped stopped
until_step stopped 10
$DOCKER stop -t 120 "$PROJECT-stopped" >/dev/null
told stopped | tail -1
[ "$($DOCKER inspect -f '{{.State.ExitCode}}' "$PROJECT-stopped")" = 0 ] || fail "it did not end with status 0"

say "a worker's image loads what was trained, as its own user, and asks it for a mask"
volume=$($DOCKER inspect -f '{{range .Mounts}}{{if eq .Destination "/train/runs"}}{{.Name}}{{end}}{{end}}' "$PROJECT-second")
$DOCKER run --rm --network none --read-only --tmpfs /tmp:size=512m,mode=1777 -v "$volume:/models:ro" -w /tmp --entrypoint sh \
    lexiseg-worker:local -c '
python -c "import cv2, numpy; cv2.imwrite(\"/tmp/picture.png\", numpy.full((64, 96, 3), 200, numpy.uint8))"
lexiseg segment /tmp/picture.png -c horse --model trained --out /tmp/out && grep lineage /models/trained/card.yaml
' || fail "it cannot be served"
say "ok"
