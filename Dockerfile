# Two images from one file: `omni` (the last stage, what `docker build .` makes) and `litellm`, the proxy beside it.
# Both hold what the locks say, by hash, and nothing that builds: no pip, no compiler, no headers, no curl.
#   docker build -t omni .
#   docker build -t omni-litellm --target litellm .
# Pin the base by digest for a build that can be repeated: --build-arg BASE=debian:trixie-slim@sha256:…
ARG BASE=debian:trixie-slim

# ---- what both run on: Debian's own Python, which Debian keeps patched --------------------------------------------
FROM ${BASE} AS python
RUN apt-get update \
    && apt-get upgrade --yes \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# One fixed user for both, so that the owner of a volume stays the same across images; it owns nothing but /data.
RUN groupadd --gid 10001 omni \
    && useradd --uid 10001 --gid omni --no-create-home --home-dir /tmp --shell /usr/sbin/nologin omni \
    && install -d -m 0700 -o omni -g omni /data

# ---- where things are built; nothing of it is in the images but the two environments -------------------------------
FROM python AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/tools
COPY requirements-build.lock ./
RUN /opt/tools/bin/pip install --require-hashes --no-deps --only-binary :all: -r requirements-build.lock

FROM build AS build-omni
RUN python3 -m venv --without-pip /opt/omni
COPY requirements.lock ./
RUN /opt/tools/bin/pip --python /opt/omni/bin/python install --require-hashes --no-deps --only-binary :all: \
    -r requirements.lock
COPY pyproject.toml LICENSE ./
COPY src ./src
RUN /opt/tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels . \
    && /opt/tools/bin/pip --python /opt/omni/bin/python install --no-deps --no-index /wheels/*.whl

FROM build AS build-litellm
RUN python3 -m venv --without-pip /opt/litellm
COPY requirements-real.lock ./
RUN /opt/tools/bin/pip --python /opt/litellm/bin/python install --require-hashes --no-deps --only-binary :all: \
    -r requirements-real.lock

# ---- the proxy, in the version that the tests run against ----------------------------------------------------------
FROM python AS litellm
COPY --from=build-litellm /opt/litellm /opt/litellm
COPY deploy/docker/litellm.yaml /etc/litellm/config.yaml
COPY deploy/docker/answers.py /usr/local/lib/answers.py
# The map of prices comes with the package; without this the proxy would fetch another at its start.
ENV PATH=/opt/litellm/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 LITELLM_LOCAL_MODEL_COST_MAP=True \
    LITELLM_MODE=PRODUCTION DISABLE_ADMIN_UI=True NO_DOCS=True
USER 10001:10001
WORKDIR /tmp
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/usr/local/lib/answers.py", "4000", "/health/liveliness"]
ENTRYPOINT ["litellm"]
CMD ["--config", "/etc/litellm/config.yaml", "--host", "0.0.0.0", "--port", "4000", "--telemetry", "False"]

# ---- the daemon ----------------------------------------------------------------------------------------------------
FROM python AS omni
COPY --from=build-omni /opt/omni /opt/omni
COPY deploy/docker/config.yaml /etc/omni/config.yaml
COPY deploy/docker/answers.py /usr/local/lib/answers.py
# Every address of the container: what others reach is what the engine publishes, and the token is wanted always.
ENV PATH=/opt/omni/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 \
    OMNI_HOST=0.0.0.0 OMNI_PORT=18765 OMNI_DATA_DIR=/data OMNI_CONFIG=/etc/omni/config.yaml
VOLUME ["/data"]
USER 10001:10001
WORKDIR /data
EXPOSE 18765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "/usr/local/lib/answers.py", "OMNI_PORT", "/readyz"]
ENTRYPOINT ["omni"]
CMD ["serve"]
