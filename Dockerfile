# Images of lexiseg, one per target: gateway (no torch), worker, trainer. Build with BuildKit: DOCKER_BUILDKIT=1.
#
#   docker build --target gateway -t lexiseg-gateway .
#   docker build --target worker -t lexiseg-worker --build-arg PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" .
#
# BASE_IMAGE: anything with python3 (3.11) and its venv module, e.g. Debian with python3-venv.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/lexiseg/bin:$PATH \
    MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    LEXISEG_HOST=0.0.0.0
RUN groupadd --gid 10001 lexiseg \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/lexiseg --create-home --shell /usr/sbin/nologin lexiseg


FROM base AS gateway-build
ARG PIP_ARGS=""
# Of the tag, which a build without .git cannot see.
ARG VERSION=0.1.0
WORKDIR /src
COPY constraints.txt ./
COPY requirements/gateway.txt requirements/
# PIP_ARGS is a list of options: it has to fall apart into words.
# hadolint ignore=DL3042,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/lexiseg \
    && pip install $PIP_ARGS -c constraints.txt -r requirements/gateway.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY model/lexiseg_model/__init__.py model/lexiseg_model/errors.py model/lexiseg_model/types.py model/lexiseg_model/
COPY service/ service/
COPY clients/python/lexiseg_client/ clients/python/lexiseg_client/
# hadolint ignore=DL3042,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    SETUPTOOLS_SCM_PRETEND_VERSION_FOR_LEXISEG=$VERSION pip install $PIP_ARGS --no-deps .


FROM base AS gateway
COPY --from=gateway-build /opt/lexiseg /opt/lexiseg
WORKDIR /var/lib/lexiseg
USER 10001:10001
EXPOSE 8000 50051
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-m", "lexiseg_service.healthcheck", "8000"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["lexiseg"]
CMD ["gateway"]


FROM base AS worker-build
ARG PIP_ARGS=""
# cpu or gpu: which ONNX Runtime comes along.
ARG RUNTIME=cpu
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE ./
COPY requirements/text-tower.txt requirements/
COPY model/lexiseg_model/__init__.py model/lexiseg_model/
COPY service/lexiseg_service/__init__.py service/lexiseg_service/
# What the project needs, before its own files: they change more often.
# hadolint ignore=DL3042,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/lexiseg \
    && pip install $PIP_ARGS -c constraints.txt ".[${RUNTIME}]" \
    && pip install $PIP_ARGS --no-deps --require-hashes -r requirements/text-tower.txt
# A compiler for the kernel, in this stage alone. Without one, as where there is no mirror, numpy does its work.
# hadolint ignore=DL3008
RUN command -v cc || { apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*; } || echo "no C compiler: the kernel is left out"
# Here and not above: another version does not install everything anew.
ARG VERSION=0.1.0
COPY setup.py ./
COPY model/ model/
COPY service/ service/
COPY clients/python/lexiseg_client/ clients/python/lexiseg_client/
# hadolint ignore=DL3042,SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    SETUPTOOLS_SCM_PRETEND_VERSION_FOR_LEXISEG=$VERSION pip install $PIP_ARGS --no-deps --force-reinstall .


FROM base AS worker
# Idle OpenMP threads that spin take the cores from the busy ones.
ENV OMP_WAIT_POLICY=passive \
    LEXISEG_MODELS_DIR=/models \
    LEXISEG_CACHE_DIR=/tmp/lexiseg \
    HF_HOME=/models/.hub
COPY --from=worker-build /opt/lexiseg /opt/lexiseg
# A new volume takes over the owner of what it is mounted on.
RUN install -d -o 10001 -g 10001 /models
WORKDIR /var/lib/lexiseg
USER 10001:10001
EXPOSE 50061 8001
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-m", "lexiseg_service.healthcheck", "8001"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["lexiseg"]
CMD ["worker"]


FROM base AS trainer
ENV OMP_WAIT_POLICY=passive \
    LEXISEG_CACHE_DIR=/tmp/lexiseg \
    HF_HOME=/train/runs/.hub
COPY --from=worker-build /opt/lexiseg /opt/lexiseg
# Recipes write to runs/NAME and read ../shared/data. The volume of the workers' models is mounted on the first, so
# that what was trained is a model of theirs; the user is theirs, too.
RUN install -d -o 10001 -g 10001 /train /train/runs && install -d /shared/data
WORKDIR /train
USER 10001:10001
VOLUME /train/runs
# A checkpoint is written before it ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["lexiseg", "train"]
CMD ["--list"]
