#!/bin/sh
# Certificates for mutual TLS between gateways and workers (docs/scaling.md): an authority of their own, one certificate
# for all gateways and one for all workers.
#
#   deploy/certificates.sh FOLDER [DAYS]
#
# An authority that is there already signs again: run it anew before the certificates end, then restart both sides.
# Keep ca-key.pem away from both.
set -eu
umask 077
folder=$1
days=${2:-365}
mkdir -p "$folder"
cd "$folder"

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if [ ! -e ca-key.pem ]; then
    key ca-key.pem
    openssl req -x509 -new -key ca-key.pem -sha256 -days 3650 -subj "/CN=lexiseg internal" -out ca.pem \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign"
fi
sign() {  # NAME USAGE
    key "$1-key.pem"
    openssl req -new -key "$1-key.pem" -subj "/CN=lexiseg-$1" -out "$1.csr"
    printf '%s\n' "subjectAltName=DNS:lexiseg-$1" "keyUsage=critical,digitalSignature" "extendedKeyUsage=$2" \
        "basicConstraints=critical,CA:FALSE" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -sha256 -days "$days" \
        -extfile "$1.ext" -out "$1.pem" 2>/dev/null
    rm "$1.csr" "$1.ext"
}
sign worker serverAuth
sign gateway clientAuth
chmod 644 ca.pem worker.pem gateway.pem
echo "$(pwd): ca.pem; worker.pem, worker-key.pem; gateway.pem, gateway-key.pem"
