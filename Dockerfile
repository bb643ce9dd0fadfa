# Images of lexiseg, one per target: gateway (no torch), worker, bulk (the worker and Ray), trainer, load. Build with BuildKit: DOCKER_BUILDKIT=1.
#
#   docker build --target gateway -t lexiseg-gateway .
#   docker build --target worker -t lexiseg-worker .                             # for CPUs
#   docker build --target worker -t lexiseg-worker:cuda --build-arg RUNTIME=cuda .   # for NVIDIA's GPUs
#
# What pip installs is pinned with hashes in requirements/*.lock, but for torch and torchvision, which come from an index of
# their own and from no other. Both need no mirror of ours; PIP_ARGS and TORCH_INDEX name yours.
#
# BASE_IMAGE: anything with python3 (3.11) and its venv module, e.g. Debian with python3-venv.
ARG BASE_IMAGE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/lexiseg/bin:$PATH \
    MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    LEXISEG_HOST=0.0.0.0
RUN groupadd --gid 10001 lexiseg \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/lexiseg --create-home --shell /usr/sbin/nologin lexiseg \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/lexiseg/trainings


FROM base AS gateway-build
ARG PIP_ARGS=""
WORKDIR /src
COPY requirements/gateway.lock requirements/
# PIP_ARGS is a list of options: it has to fall apart into words. Of Arrow, tables and parquet alone are read and written.
# hadolint ignore=DL3042,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/lexiseg \
    && pip install $PIP_ARGS --no-deps --require-hashes -r requirements/gateway.lock \
    && arrow=$(echo /opt/lexiseg/lib/python*/site-packages/pyarrow) \
    && rm -rf "$arrow/tests" "$arrow/include" "$arrow/src" "$arrow"/*flight* \
    && /opt/lexiseg/bin/python -c "import pyarrow.parquet"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY model/pyproject.toml model/README.md model/LICENSE model/NOTICE model/
COPY model/lexiseg_model/__init__.py model/lexiseg_model/cards.py model/lexiseg_model/errors.py model/lexiseg_model/model_name.py model/lexiseg_model/runtimes.py model/lexiseg_model/types.py model/lexiseg_model/
COPY model/lexiseg_model/catalogue/__init__.py model/lexiseg_model/catalogue/available.py model/lexiseg_model/catalogue/available.yaml model/lexiseg_model/catalogue/store.py model/lexiseg_model/catalogue/
COPY model/lexiseg_model/resources/__init__.py model/lexiseg_model/resources/lru.py model/lexiseg_model/resources/
COPY model/lexiseg_model/kernel/__init__.py model/lexiseg_model/kernel/library.py model/lexiseg_model/kernel/teach.py model/lexiseg_model/kernel/
COPY model/lexiseg_model/files/ model/lexiseg_model/files/
COPY model/lexiseg_model/command_line/ model/lexiseg_model/command_line/
COPY model/lexiseg_model/vocabulary/__init__.py model/lexiseg_model/vocabulary/class_lists.py model/lexiseg_model/vocabulary/class_names.py model/lexiseg_model/vocabulary/heads.py model/lexiseg_model/vocabulary/solving.py model/lexiseg_model/vocabulary/stuff.json model/lexiseg_model/vocabulary/
COPY model/lexiseg_model/vocabulary/lists/ model/lexiseg_model/vocabulary/lists/
COPY model/lexiseg_model/pictures/ model/lexiseg_model/pictures/
COPY labels/ labels/
COPY service/ service/
COPY clients/python/ clients/python/
COPY requirements/build.lock requirements/sbom.py requirements/wheel.sh requirements/
# Of the tag, which a build without .git cannot see.
ARG VERSION=0.4.0
RUN --mount=type=cache,target=/root/.cache/pip sh requirements/wheel.sh lexiseg-gateway "$VERSION" ./labels ./model ./clients/python .


FROM base AS gateway
COPY --from=gateway-build /opt/lexiseg /opt/lexiseg
WORKDIR /var/lib/lexiseg
USER 10001:10001
EXPOSE 8000 50051
# The check asks for 2.5 seconds; the rest is for its interpreter, which starts slowly beside a busy model.
HEALTHCHECK --interval=5s --timeout=10s --start-period=20s --retries=3 \
    CMD ["python", "-m", "lexiseg_service.healthcheck", "8000"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["lexiseg"]
CMD ["gateway"]
ARG VERSION=0.4.0
ARG REVISION=""
LABEL org.opencontainers.image.title="lexiseg gateway" \
      org.opencontainers.image.description="REST and gRPC in front of workers: send an image and words, get masks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION


FROM base AS worker-build
ARG PIP_ARGS=""
# cpu or cuda: decides on torch, on ONNX Runtime and on NVIDIA's libraries, which have to be of one CUDA (13.0).
ARG RUNTIME=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl
WORKDIR /src
COPY constraints.txt requirements/worker-cpu.lock requirements/worker-gpu.lock requirements/
# What the project needs, before its own files: they change more often. torch's own index has other packages, too, and
# what has two homes may come from the wrong one: so each step has one index, and looks no further than its list.
# PIP_CONFIG_FILE: no index of the machine's beside it. Programs that test torch are a sixth of it.
# hadolint ignore=DL3042,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$RUNTIME" in \
        cpu) list=worker-cpu; index=$TORCH_INDEX/cpu ;; \
        cuda) list=worker-gpu; index=$TORCH_INDEX/cu130 ;; \
        *) echo "RUNTIME=$RUNTIME; expected cpu or cuda" >&2; exit 1 ;; \
    esac \
    && python3 -m venv /opt/lexiseg \
    && PIP_CONFIG_FILE=/dev/null pip install --index-url "$index" --no-deps \
        "$(grep '^torch==' requirements/constraints.txt)" "$(grep '^torchvision==' requirements/constraints.txt)" \
    && torch=$(echo /opt/lexiseg/lib/python*/site-packages/torch) \
    && rm -rf "$torch/test" "$torch"/bin/test_* "$torch"/bin/*Test \
    && pip install $PIP_ARGS --no-deps --require-hashes -r requirements/$list.lock
# A compiler for the kernel, in this stage alone. Without one, as where there is no mirror, numpy does its work.
# hadolint ignore=DL3008
RUN command -v cc || { apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*; } || echo "no C compiler: the kernel is left out"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY model/pyproject.toml model/setup.py model/README.md model/LICENSE model/NOTICE model/
COPY model/lexiseg_model/ model/lexiseg_model/
COPY model/lexiseg_falcon/ model/lexiseg_falcon/
COPY labels/ labels/
COPY service/ service/
COPY clients/python/ clients/python/
COPY requirements/build.lock requirements/sbom.py requirements/wheel.sh requirements/
ARG VERSION=0.4.0
RUN --mount=type=cache,target=/root/.cache/pip \
    sh requirements/wheel.sh lexiseg-worker "$VERSION" ./labels ./model ./model/lexiseg_falcon ./clients/python .


FROM base AS worker
# Idle OpenMP threads that spin take the cores from the busy ones.
ENV OMP_WAIT_POLICY=passive \
    ORT_DISABLE_TELEMETRY=1 \
    LEXISEG_MODELS_DIR=/models \
    XDG_CACHE_HOME=/tmp \
    HF_HOME=/models/.hub
COPY --from=worker-build /opt/lexiseg /opt/lexiseg
# A new volume takes over the owner of what it is mounted on; the second is for a cache that outlives the container.
RUN install -d -o 10001 -g 10001 /models /var/cache/lexiseg
WORKDIR /var/lib/lexiseg
USER 10001:10001
EXPOSE 50061 8001
# The first start may load weights from the hub, write an export or build engines; compose says how long it may take.
HEALTHCHECK --interval=5s --timeout=10s --start-period=300s --retries=3 \
    CMD ["python", "-m", "lexiseg_service.healthcheck", "8001"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["lexiseg"]
CMD ["worker"]
ARG VERSION=0.4.0
ARG REVISION=""
LABEL org.opencontainers.image.title="lexiseg worker" \
      org.opencontainers.image.description="Models and a device, for gateways of lexiseg" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-Research-and-Evaluation" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION


FROM worker-build AS bulk-build
ARG PIP_ARGS=""
COPY requirements/bulk.lock requirements/
# hadolint ignore=DL3042,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install $PIP_ARGS --no-deps --require-hashes -r requirements/bulk.lock


# `lexiseg bulk`, and `ray start` on each node of a cluster (docs/bulk.md). Ray wants a writable root and shared memory.
FROM worker AS bulk
COPY --from=bulk-build /opt/lexiseg /opt/lexiseg
ENV RAY_USAGE_STATS_ENABLED=0
HEALTHCHECK NONE
CMD ["bulk", "--help"]
LABEL org.opencontainers.image.title="lexiseg bulk" \
      org.opencontainers.image.description="Segments stored images into parquet, on a Ray cluster"


FROM worker-build AS trainer-build
ARG PIP_ARGS=""
COPY model/lexiseg_train/ model/lexiseg_train/
ARG VERSION=0.4.0
RUN --mount=type=cache,target=/root/.cache/pip \
    rm -rf /wheel && sh requirements/wheel.sh lexiseg-trainer "$VERSION" ./model/lexiseg_train


FROM base AS trainer
ENV OMP_WAIT_POLICY=passive \
    ORT_DISABLE_TELEMETRY=1 \
    XDG_CACHE_HOME=/tmp \
    HF_HOME=/train/runs/.hub
COPY --from=trainer-build /opt/lexiseg /opt/lexiseg
# Recipes write to runs/NAME and read data/. The volume of the workers' models is mounted on the first, so
# that what was trained is a model of theirs; the user is theirs, too.
RUN install -d -o 10001 -g 10001 /train /train/runs /train/data
WORKDIR /train
USER 10001:10001
VOLUME /train/runs
# A checkpoint is written before it ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["lexiseg", "train"]
CMD ["--list"]
ARG VERSION=0.4.0
ARG REVISION=""
LABEL org.opencontainers.image.title="lexiseg trainer" \
      org.opencontainers.image.description="Recipes of lexiseg" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-Research-and-Evaluation" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION


FROM gateway-build AS load-build
ARG PIP_ARGS=""
COPY requirements/load.lock requirements/
# hadolint ignore=DL3042,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install $PIP_ARGS --no-deps --require-hashes -r requirements/load.lock


FROM base AS load
COPY --from=load-build /opt/lexiseg /opt/lexiseg
COPY loadtests/ /load/loadtests/
ENV PYTHONPATH=/load
WORKDIR /load
USER 10001:10001
EXPOSE 8089 5557
STOPSIGNAL SIGTERM
ENTRYPOINT ["locust", "-f", "loadtests/locustfile.py"]
ARG VERSION=0.4.0
ARG REVISION=""
LABEL org.opencontainers.image.title="lexiseg load" \
      org.opencontainers.image.description="The load test of lexiseg, for one process or many" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION
