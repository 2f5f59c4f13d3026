# The broker in a container, for amd64 and arm64: `docker compose up -d --build`; how to use it: docs/docker.md.
# Every step is also run without Docker by tests/docker-by-hand.sh, which knows the instructions used here and no others.
#
# 3.13 because it gets security fixes a year longer than 3.12 and every requirement has wheels for it on both
# architectures; slim because nothing is compiled here. A mirror: --build-arg BASE_IMAGE=mirror.example/python:3.13-slim
ARG BASE_IMAGE=python:3.13-slim
FROM ${BASE_IMAGE}

# plain, or programs: with node (npx) and uv (uvx), for tool programs that the broker starts itself.
ARG VARIANT=plain

# Only for the build, e.g. --build-arg PIP_INDEX_URL=https://pypi.tuna.tsinghua.edu.cn/simple
ARG PIP_INDEX_URL

# `container` is how programs find out that they run in one, under Kubernetes too. A container's own 127.0.0.1 is out of everybody's reach, so a settings file brought along with `host = 127.0.0.1`
# (the original's sample) would start a broker that nobody can call.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    container=docker \
    MCP_ENDPOINT_SERVER__HOST=0.0.0.0

WORKDIR /app

# What changes least comes first. setpriv (util-linux, essential in Debian) is what the entrypoint drops privileges with.
RUN groupadd --gid 1000 app \
    && useradd --uid 1000 --gid 1000 --home-dir /app --no-create-home --shell /usr/sbin/nologin app \
    && command -v setpriv

COPY requirements.txt ./
RUN pip install --no-cache-dir --only-binary=:all: -r requirements.txt

COPY requirements-programs.txt ./
COPY docker/programs.sh docker/
RUN sh docker/programs.sh "$VARIANT"

# The code belongs to root and is compiled here, since the broker may write to data, logs and home alone; programs
# keep what they download in home.
COPY main.py mcp-endpoint-server.cfg LICENSE ./
COPY docker/ docker/
COPY src/ src/
RUN python -m compileall -q main.py src
RUN install -d -o 1000 -g 1000 data logs home

EXPOSE 8004
STOPSIGNAL SIGTERM

# slim has no curl. A proxy that Docker puts into the environment must not be asked for 127.0.0.1.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-Ic", "import os, ssl, urllib.request as r; e = os.environ.get; r.build_opener(r.ProxyHandler({}), r.HTTPSHandler(context=ssl._create_unverified_context())).open('http%s://127.0.0.1:%s/health' % ('s' if e('MCP_ENDPOINT_SERVER__TLS_CERT') else '', e('MCP_ENDPOINT_SERVER__PORT') or 8004), timeout=4)"]

# Named through sh, so that a checkout without mode bits (Windows) works too; the script ends in `exec python`.
ENTRYPOINT ["/bin/sh", "/app/docker/entrypoint.sh"]
