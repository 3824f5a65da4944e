FROM python:3.13-slim AS build
WORKDIR /ledgers
RUN python -m venv /venv
COPY requirements.lock ./
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check \
    --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check \
    --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin ledgers
COPY --from=build /venv /venv
# The database is another server, named by DATABASE_URL. Without it there is an embedded one, which
# starts only if something that outlives the container is mounted at /data.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LEDGERS_DATA_DIRECTORY=/data \
    LEDGERS_HOST=0.0.0.0 \
    LEDGERS_PORT=8000 \
    LEDGERS_LOG_FORMAT=json
USER ledgers
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os; front = http.client.HTTPConnection('127.0.0.1', int(os.environ['LEDGERS_PORT']), timeout=4); front.request('GET', '/health/ready'); raise SystemExit(front.getresponse().status != 200)"]
ENTRYPOINT ["ledgers"]
CMD ["serve"]
