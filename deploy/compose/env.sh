#!/bin/sh
# Writes .env beside docker-compose.yml from deploy/compose/env.example, with passwords of its own. An .env that is there
# already stays as it is.
#
#   deploy/compose/env.sh [cpu | gpu]
set -eu
cd "$(dirname "$0")/../.."
profile=${1:-cpu}
case "$profile" in cpu | gpu) ;; *) echo "$profile: expected cpu or gpu" >&2; exit 2 ;; esac
if [ -e .env ]; then
    echo ".env is there already; nothing was changed" >&2
    exit 0
fi
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
umask 077
sed -e "s/^COMPOSE_PROFILES=.*/COMPOSE_PROFILES=$profile/" \
    -e "s/^REDIS_PASSWORD=.*/REDIS_PASSWORD=$(secret)/" \
    -e "s/^GRAFANA_PASSWORD=.*/GRAFANA_PASSWORD=$(secret)/" \
    -e "s/^LEXISEG_WORKER_TOKEN=.*/LEXISEG_WORKER_TOKEN=$(secret)/" deploy/compose/env.example >.env.new
mv .env.new .env
echo ".env: profile $profile; passwords are new. docker compose up"
