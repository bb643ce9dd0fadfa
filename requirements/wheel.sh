#!/bin/sh
# Of the images' build stages: makes the wheel of what lies here, installs it, and writes the list of what is installed.
#
#   PIP_ARGS=... requirements/wheel.sh IMAGE VERSION
#
# The wheel is made in an environment of its own, so that what makes it stays behind.
set -eu
python3 -m venv /build
# shellcheck disable=SC2086  # a list of options: it has to fall apart into words
/build/bin/pip install ${PIP_ARGS-} --no-deps --require-hashes -r requirements/build.lock
/build/bin/pip wheel --no-deps --no-build-isolation -w /wheel .
pip install --no-deps --no-index /wheel/*.whl
python requirements/sbom.py "$1" "$2" >/opt/lexiseg/sbom.cdx.json
