# One image for every process: `docker run remora COMMAND`, for example `remora engine`. Nothing in it runs as root.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
# Every file is checked against the lock; afterwards only what production needs is installed from those files.
RUN pip download --quiet --no-cache-dir --require-hashes --dest /wheels --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY engine engine
COPY projections projections
COPY api api
COPY migrations migrations
COPY ops ops
RUN pip install --quiet --no-index --find-links /wheels setuptools \
    && pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python -m venv /opt/remora \
    && /opt/remora/bin/pip install --quiet --no-cache-dir --no-index --find-links /wheels remora

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home remora
COPY --from=build /opt/remora /opt/remora
ENV PATH=/opt/remora/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["remora"]
CMD ["--help"]
