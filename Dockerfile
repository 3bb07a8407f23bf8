# syntax=docker/dockerfile:1
# Three images from one file:
#   docker build --target gateway     -t legonn/gateway .      no torch; talks to Triton
#   docker build --target triton      -t legonn/triton .       the official server, with legonn_core
#   docker build --target all-in-one  -t legonn/all-in-one .   gateway and engine, on CPU
# Each stage's work is in deploy/images/install, which `make check-images` runs without Docker.
# Pin the bases for a release: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11.7-slim-bookworm
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:24.10-py3

FROM ${PYTHON_IMAGE} AS source
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE NOTICE CHANGELOG.md ./
COPY legonn_core legonn_core
COPY server server
COPY protos protos
COPY loadtest loadtest
COPY deploy/images deploy/images

FROM source AS build-gateway
RUN deploy/images/install gateway,triton,tracing /opt/venv

FROM source AS build-all-in-one
RUN deploy/images/install server,tracing /opt/venv

FROM ${PYTHON_IMAGE} AS runtime
RUN groupadd --gid 10001 legonn \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin legonn
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LEGONN_SERVER__LISTEN=0.0.0.0:50051 \
    LEGONN_SERVER__HTTP=0.0.0.0:8080 \
    LEGONN_SERVER__METRICS=0.0.0.0:9464 \
    LEGONN_LOG__JSON=true
# Other machines reach these ports, so the server starts only when it is told who may call: mount an
# access file and name it in LEGONN_ACCESS__FILE, or set LEGONN_ACCESS__INSECURE=true.
USER 10001:10001
WORKDIR /tmp
EXPOSE 50051 8080 9464
# The root may be read-only: nothing but /tmp is written.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["legonn", "doctor", "--health-only"]
ENTRYPOINT ["legonn"]
CMD ["serve"]

FROM runtime AS gateway
COPY --from=build-gateway /opt/venv /opt/venv
ENV LEGONN_SERVER__BACKEND=triton

FROM runtime AS all-in-one
COPY --from=build-all-in-one /opt/venv /opt/venv
# The module store is mounted here; no weights are in the image.
ENV LEGONN_SERVER__BACKEND=embedded \
    LEGONN_SERVER__MODULES=/opt/legonn/modules

FROM ${TRITON_IMAGE} AS triton
COPY --from=source /src /src
WORKDIR /src
# Into the server's own Python: that is the one its Python backend starts.
RUN python3 -m pip install --quiet --no-cache-dir --constraint requirements.lock ".[core]" \
    && python3 deploy/images/sbom.py > /opt/legonn-sbom.json \
    && python3 deploy/images/verify.py core \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin legonn
USER 10001
WORKDIR /tmp
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["curl", "--fail", "--silent", "http://127.0.0.1:8000/v2/health/ready"]
ENTRYPOINT ["tritonserver"]
CMD ["--model-repository=/repository"]
