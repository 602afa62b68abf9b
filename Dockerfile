# Two images: `docker build .` gives the one for production, `docker build --target dev .` the one with the sample ETL
# and the embedded store as well.

# The parts as wheels.
FROM python:3.13-slim AS build
WORKDIR /src
COPY events events
COPY ledger ledger
COPY producer producer
COPY consumer consumer
COPY api api
COPY watch watch
COPY cli cli
RUN ["pip", "wheel", "--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--wheel-dir", "/wheels", \
     "./events", "./ledger", "./producer", "./consumer", "./api", "./watch", "./cli"]

FROM build AS build-dev
COPY dev dev
RUN ["pip", "wheel", "--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--wheel-dir", "/wheels-dev", "./dev"]

# What both run: the locked requirements, checked against their hashes, then the wheels and nothing else.
FROM python:3.13-slim AS runtime
RUN --mount=type=bind,source=requirements.lock,target=/requirements.lock \
    ["pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", \
     "--only-binary=:all:", "--require-hashes", "--requirement", "/requirements.lock"]
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    ["pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", \
     "--no-deps", "--no-index", "--find-links", "/wheels", \
     "etlog-events", "etlog-ledger", "etlog-producer", "etlog-consumer", "etlog-api", "etlog-watch", "etlog"]

# The one writable folder. A new volume that is mounted here is owned by this user, too.
RUN ["install", "--directory", "--owner=10001", "--group=10001", "/data"]
ENV ETLOG_SPOOL_DIR=/data/spool
WORKDIR /data
ENTRYPOINT ["etlog"]

FROM runtime AS dev
RUN --mount=type=bind,source=dev/requirements.lock,target=/requirements.lock \
    ["pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", \
     "--only-binary=:all:", "--require-hashes", "--requirement", "/requirements.lock"]
RUN --mount=type=bind,from=build-dev,source=/wheels-dev,target=/wheels \
    ["pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", \
     "--no-deps", "--no-index", "--find-links", "/wheels", "etlog-dev"]
USER 10001:10001

# The default, because it comes last: no psutil, no Valkey, no sample.
FROM runtime AS production
USER 10001:10001
