#!/bin/sh
# Writes the images' lists of packages, each file with its hashes: requirements/*.lock. `make lock` runs it.
#
# Versions are those of constraints.txt. torch and torchvision are left out: they come from an index of their own.
set -eu
cd "$(dirname "$0")/.."
compile() {
    out=requirements/$1.lock
    shift
    {
        echo "# Written by requirements/lock.sh (make lock). Every file that pip may take, by its hash."
        uv pip compile --quiet --no-config --no-header --no-annotate --generate-hashes --universal \
            --python-version 3.11 -c constraints.txt --default-index "${INDEX:-https://pypi.org/simple}" "$@"
    } >"$out.new"
    mv "$out.new" "$out"
}
compile build requirements/build.txt
compile gateway requirements/gateway.txt
compile load requirements/load.txt
compile bulk requirements/bulk.txt
# Of the trainer, too, which adds its own package alone. Our packages are built from here, not fetched.
own=""
for package in lexiseg lexiseg-client lexiseg-labels lexiseg-model lexiseg-train; do
    own="$own --no-emit-package $package"
done
for runtime in cpu gpu; do
    # onnxruntime-gpu has the files of onnxruntime, too.
    without=$([ $runtime = cpu ] || echo "--no-emit-package onnxruntime")
    printf '%s\n' ".[clip,$runtime,otel,s3]" ./labels ./model ./model/lexiseg_train ./clients/python |
        compile "worker-$runtime" - $own --no-emit-package torch --no-emit-package torchvision $without
done
# What the torch of that index is built for brings these along; the torch of CPUs wants none of them.
awk '/^[a-z]/ { cuda = /^(cuda|nvidia|triton)/ } !cuda' requirements/worker-cpu.lock >requirements/worker-cpu.lock.new
mv requirements/worker-cpu.lock.new requirements/worker-cpu.lock
