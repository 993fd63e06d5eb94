# swarmtap as a container: capture needs NET_RAW and nothing else; offline commands need nothing at all.
#   docker build -t swarmtap .
#   docker run --rm -v "$PWD:/data:ro" swarmtap analyze /data/office.pcap -p /data/policy.yaml
#   docker run -d --network host --cap-drop ALL --cap-add NET_RAW swarmtap watch -i eth1 --listen 127.0.0.1:9768
# Another base may be given: any Debian with Python 3.11 or newer in /usr/local or /usr, trixie or later for a tshark that
# knows Delivery Optimization. Where the build may not reach an index, a folder `wheels` beside this file is taken, with
# PIP_NO_INDEX=1: packaging/image.sh fills it, builds, and tries the image.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
ARG PIP_NO_INDEX
WORKDIR /src
COPY LICENSE wheel[s] /wheels/
COPY pyproject.toml README.md LICENSE ./
COPY sensor ./sensor
COPY rules ./rules
COPY grafana ./grafana
COPY pcaps ./pcaps
# A linker makes of the kernels' machine code a library that loads without LLVM; setcap is for the next step.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends binutils libcap2-bin \
 && rm -rf /var/lib/apt/lists/*
# --copies: the interpreter in the environment is a file of its own, which may be given a capability.
# Permitted only: where NET_RAW is not to be had, the program still starts, and analyzes.
RUN python3 -m venv --copies /opt/swarmtap \
 && PIP_FIND_LINKS=/wheels /opt/swarmtap/bin/pip install --no-cache-dir --disable-pip-version-check . \
 && /opt/swarmtap/bin/python -P -m sensor.kernels.warm \
 && setcap cap_net_raw=p "$(readlink -f /opt/swarmtap/bin/python3)"

FROM ${BASE}
LABEL org.opencontainers.image.title="swarmtap" \
      org.opencontainers.image.description="Who gives Windows update bytes to whom on TCP 7680, and was it allowed" \
      org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends tshark \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 7680 swarmtap \
 && useradd --uid 7680 --gid 7680 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin swarmtap \
 && install -d -o 7680 -g 7680 /var/lib/swarmtap /var/log/swarmtap
COPY --from=build /opt/swarmtap /opt/swarmtap
# The kernels are compiled for the machine that built the image; on another kind they are compiled anew, and kept here.
ENV PATH=/opt/swarmtap/bin:$PATH \
    NUMBA_CACHE_DIR=/var/lib/swarmtap/kernels \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 7680:7680
WORKDIR /var/lib/swarmtap
EXPOSE 9768
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9768/-/healthy', timeout=4)"]
ENTRYPOINT ["swarmtap"]
CMD ["--help"]
