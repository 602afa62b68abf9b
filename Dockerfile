# The five parts as wheels.
FROM python:3.13-slim AS build
WORKDIR /src
COPY events events
COPY producer producer
COPY consumer consumer
COPY api api
COPY cli cli
RUN ["pip", "wheel", "--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--wheel-dir", "/wheels", \
     "./events", "./producer", "./consumer", "./api", "./cli"]

# What runs: the locked requirements, checked against their hashes, then the wheels and nothing else.
FROM python:3.13-slim
RUN --mount=type=bind,source=requirements.lock,target=/requirements.lock \
    ["pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", \
     "--only-binary=:all:", "--require-hashes", "--requirement", "/requirements.lock"]
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    ["pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", \
     "--no-deps", "--no-index", "--find-links", "/wheels", \
     "etlog-events", "etlog-producer", "etlog-consumer", "etlog-api", "etlog"]

# The one folder that may be written to. A new volume that is mounted here takes its owner over.
RUN ["install", "--directory", "--owner=10001", "--group=10001", "/data"]
ENV ETLOG_SPOOL_DIR=/data/spool
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["etlog"]
