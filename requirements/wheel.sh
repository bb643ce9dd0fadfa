#!/bin/sh
# Of the images' build stages: makes wheels of packages, installs them, and writes the list of what is installed.
#
#   PIP_ARGS=... requirements/wheel.sh IMAGE VERSION FOLDER...
#
# The wheels are made in an environment of their own, so that what makes them stays behind.
set -eu
image=$1 version=$2
shift 2
python3 -m venv /build
# shellcheck disable=SC2086  # a list of options: it has to fall apart into words
/build/bin/pip install ${PIP_ARGS-} --no-deps --require-hashes -r requirements/build.lock
/build/bin/pip wheel --no-deps --no-build-isolation -w /wheel "$@"
pip install --no-deps --no-index /wheel/*.whl
python requirements/sbom.py "$image" "$version" >/opt/lexiseg/sbom.cdx.json
