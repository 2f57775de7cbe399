# The service in a container, for the CPU or for CUDA. The torch wheel alone decides which.
#
#     docker build --tag kosmos2-server .
#     docker run --publish 8000:8000 --read-only --tmpfs /tmp --stop-timeout 45 kosmos2-server
#
# TORCH_INDEX_URL  an additional index for torch; PyTorch has one per CUDA version and one for the CPU.
#                  If empty, pip's default index is used, whose wheel for Linux includes CUDA.
# HEIC             any value adds the extra `heic`; its wheel contains x265, which is under the GPL.
# RAY              any value adds the extra `ray`, for `kosmos2 batch --ray` (deploy/ray/rayjob.yaml).
# secret `pip`     a pip.conf, for installing through a mirror: --secret id=pip,src=pip.conf

FROM debian:bookworm-slim AS python
# FriBiDi joins the letters of Arabic labels, Unifont covers the scripts that no other font has. tini is
# process 1: it forwards signals before the service has installed its own handlers.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        fonts-unifont libfribidi0 python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

FROM python AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN python3 -m venv --without-pip /opt/kosmos2/dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PYTHON=/opt/kosmos2/dependencies/bin/python
WORKDIR /build
# Copied before the code, so that a change of the code does not rebuild or ship this layer again.
COPY pyproject.toml constraints.txt ./
ARG TORCH_INDEX_URL=
ARG HEIC=
ARG RAY=
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = ['tracing'] + ['heic'] * bool('$HEIC') + ['ray'] * bool('$RAY'); \
print(*(d for d in p['dependencies'] if not d.startswith('kosmos2-client')), *sum((p['optional-dependencies'][e] for e in extras), []), sep='\n')" \
        > requirements.txt \
    && python3 -m pip install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} \
        --constraint constraints.txt --requirement requirements.txt \
    # torch's headers, protoc and tests are an eighth of the image, and the service does not use them.
    && find /opt/kosmos2/dependencies -type f ! -name torch_shm_manager \
        \( -path '*/torch/include/*' -o -path '*/torch/test/*' -o -path '*/torch/bin/*' \) -delete

FROM build AS application
COPY LICENSE README.md ./
COPY app app
COPY clients/python clients/python
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip install --no-deps --target /opt/kosmos2/application . ./clients/python

FROM python
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/cache/kosmos2 \
        --shell /usr/sbin/nologin kosmos2 \
    && install --directory --owner kosmos2 --group kosmos2 /var/cache/kosmos2
COPY --from=build /opt/kosmos2/dependencies /opt/kosmos2/dependencies
COPY --from=application /opt/kosmos2/application /opt/kosmos2/application
ENV PATH=/opt/kosmos2/application/bin:/opt/kosmos2/dependencies/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/kosmos2/application \
    HF_HOME=/var/cache/kosmos2 \
    KOSMOS2_HOST=0.0.0.0 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
# The service downloads published weights into it; mount a persistent volume to download them once.
VOLUME /var/cache/kosmos2
EXPOSE 8000
STOPSIGNAL SIGTERM
# Not urllib, which would send the request to the proxy of HTTP_PROXY. The start period covers a download. A draining container is unhealthy too: see docs/operations.md.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30m --retries=2 CMD ["python", "-c", \
    "import http.client, os; e = os.environ.get; c = http.client.HTTPConnection('127.0.0.1', int(e('KOSMOS2_OPS_PORT') or e('KOSMOS2_PORT') or 8000)); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--", "kosmos2"]
CMD ["serve"]
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="kosmos2-server" \
    org.opencontainers.image.description="Serves Kosmos-2 over HTTP: a picture and a task in, grounded text with boxes out." \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
