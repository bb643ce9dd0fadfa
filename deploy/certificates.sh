#!/bin/sh
# Certificates for mutual TLS between gateways and workers (docs/scaling.md): an authority of their own, one certificate
# for all gateways and one for all workers, each with its key and the authority's certificate in a folder as
# LEXISEG_WORKER_TLS names it.
#
#   deploy/certificates.sh FOLDER [DAYS]
#
# An authority that is there already signs again: run it anew before the certificates end, then restart both sides.
# Keep ca.key away from both.
set -eu
umask 077
folder=$1
days=${2:-365}
mkdir -p "$folder/worker" "$folder/gateway"
cd "$folder"

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if [ ! -e ca.key ]; then
    key ca.key
    openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN=lexiseg internal" -out ca.crt \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign"
fi
sign() {  # NAME USAGE
    key "$1/tls.key"
    openssl req -new -key "$1/tls.key" -subj "/CN=lexiseg-$1" -out "$1.csr"
    printf '%s\n' "subjectAltName=DNS:lexiseg-$1" "keyUsage=critical,digitalSignature" "extendedKeyUsage=$2" \
        "basicConstraints=critical,CA:FALSE" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -sha256 -days "$days" \
        -extfile "$1.ext" -out "$1/tls.crt" 2>/dev/null
    rm "$1.csr" "$1.ext"
    cp ca.crt "$1/ca.crt"
    chmod 644 "$1/ca.crt" "$1/tls.crt"
}
sign worker serverAuth
sign gateway clientAuth
echo "$(pwd): worker and gateway, each with ca.crt, tls.crt, tls.key"
