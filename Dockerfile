# Two stages: one builds the environment, the other holds only what runs. No root, no compiler.
FROM python:3.12-slim AS build
WORKDIR /app
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY relaybot relaybot
COPY handlers handlers
COPY wallet wallet
COPY splits splits
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /srv/relaybot relaybot
COPY --from=build /venv /venv
COPY config.yaml /srv/relaybot/config.yaml
WORKDIR /srv/relaybot
RUN mkdir data && chown relaybot data
USER relaybot
VOLUME /srv/relaybot/data
ENV RELAYBOT_RELAY__HOST=0.0.0.0
EXPOSE 7447
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["/venv/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7447/healthz', timeout=3)"]
ENTRYPOINT ["/venv/bin/relaybot"]
CMD ["run"]
