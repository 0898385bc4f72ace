# certstatus in a container: `docker build -t certstatus .`
#
# What must be given at run time, as files (never in the image): the admin token and the keys; see
# /etc/certstatus/certstatus.toml, which a mounted file replaces, and the CERTSTATUS_* variables, which win over it.
#
#   docker run -p 8080:8080 \
#     -v ./admin-token:/etc/certstatus/admin-token:ro -v certstatus-keys:/var/lib/certstatus/keys \
#     -e CERTSTATUS_POSTGRES_URL=postgresql://certstatus@db/certstatus -e CERTSTATUS_REDIS_URL=redis://cache:6379/0 \
#     --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges certstatus

ARG PYTHON_IMAGE=python:3.13.9-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/certstatus
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY _native ./_native
COPY responder ./responder
COPY loadtest ./loadtest
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && /opt/certstatus/bin/pip install /wheels/*.whl \
    && /opt/certstatus/bin/pip uninstall -y pip
COPY deploy/certstatus.toml ./
# Loopback would be the inside of the container.
RUN sed 's/^#listen = "127.0.0.1:8080"$/listen = "0.0.0.0:8080"/' certstatus.toml > /opt/certstatus/certstatus.toml \
    && grep -q '^listen = "0.0.0.0:8080"$' /opt/certstatus/certstatus.toml


FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="certstatus" \
      org.opencontainers.image.description="A high-throughput OCSP and CRL responder" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl3t64 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 certstatus \
    && useradd --system --uid 10001 --gid certstatus --no-create-home --home-dir /var/lib/certstatus \
       --shell /usr/sbin/nologin certstatus \
    && install -d -m 755 /etc/certstatus \
    && install -d -m 700 -o certstatus -g certstatus /var/lib/certstatus /var/lib/certstatus/keys
COPY --from=build /opt/certstatus /opt/certstatus
RUN mv /opt/certstatus/certstatus.toml /etc/certstatus/certstatus.toml \
    && /opt/certstatus/bin/certstatus --help > /dev/null
ENV PATH=/opt/certstatus/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/certstatus
VOLUME /var/lib/certstatus/keys
EXPOSE 8080
STOPSIGNAL SIGTERM
# The admin listener is on loopback, inside of the container; it moves with this variable only.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://' + os.environ.get('CERTSTATUS_ADMIN_LISTEN', '127.0.0.1:8081') + '/livez', timeout=2)"]
ENTRYPOINT ["certstatus"]
CMD ["run", "-c", "/etc/certstatus/certstatus.toml"]
