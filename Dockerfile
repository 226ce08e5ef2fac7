# syntax=docker/dockerfile:1
# Two images from one file: `web` holds no model library, `worker` adds torch (CPU or CUDA by build argument).

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PROMPTLAB_HOME=/var/lib/promptlab
RUN useradd --system --uid 10001 --create-home promptlab && install -d -o promptlab -g promptlab /var/lib/promptlab
WORKDIR /app

FROM base AS web
COPY requirements-web.lock .
RUN pip install --no-deps --require-hashes -r requirements-web.lock
COPY --chown=promptlab:promptlab manage.py pyproject.toml CHANGELOG.md LICENSE NOTICE ./
COPY --chown=promptlab:promptlab promptlab promptlab
COPY --chown=promptlab:promptlab experiments experiments
COPY --chown=promptlab:promptlab templates templates
COPY --chown=promptlab:promptlab static static
USER promptlab
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=40s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gunicorn", "promptlab.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--threads", "8"]

FROM base AS worker
# cpu takes the small build from PyTorch's own index; cuda takes the package index's wheel, which brings CUDA.
ARG TORCH=cpu
RUN apt-get update && apt-get install -y --no-install-recommends libjemalloc2 && rm -rf /var/lib/apt/lists/*
COPY requirements-torch-${TORCH}.txt requirements-torch.txt
RUN if [ "$TORCH" = cpu ]; then export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu; fi; pip install -r requirements-torch.txt
COPY requirements-worker.lock .
RUN pip install --no-deps --require-hashes -r requirements-worker.lock
COPY --chown=promptlab:promptlab manage.py pyproject.toml CHANGELOG.md LICENSE NOTICE ./
COPY --chown=promptlab:promptlab promptlab promptlab
COPY --chown=promptlab:promptlab experiments experiments
COPY --chown=promptlab:promptlab workers workers
USER promptlab
CMD ["celery", "-A", "promptlab", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat", "-Q", "gpu", "--pool", "solo"]
