# Two images from one file:
#     docker build --target cpu -t ecumene:cpu .
#     docker build --target gpu -t ecumene:gpu .     # run with --gpus all
# Data come in by a volume:
#     docker run --rm -v "$PWD:/data" ecumene:cpu map model/ scene.tif --out product
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
# libgomp runs the compiled parts of torch, LightGBM and scikit-learn in threads.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/ecumene
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY constraints.txt ./

# The browser libraries of the web map, as `make install` copies them.
FROM node:22-slim AS web
WORKDIR /web
COPY src/ecumene/viewer/web/package.json src/ecumene/viewer/web/package-lock.json src/ecumene/viewer/web/vendor.mjs ./
RUN npm ci --no-audit --no-fund --loglevel=error && npm run --silent vendor

FROM base AS source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY --from=web /web/vendor ./src/ecumene/viewer/web/vendor

FROM base AS cpu-libraries
RUN pip install -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch torchvision

FROM cpu-libraries AS cpu
COPY --from=source /opt/ecumene /opt/ecumene
RUN pip install -c constraints.txt '.[all]' && useradd --create-home ecumene
USER ecumene
WORKDIR /data
ENTRYPOINT ["ecumene"]
CMD ["--help"]

# The default wheels of torch bring CUDA; the driver comes from the host.
FROM base AS gpu-libraries
RUN pip install -c constraints.txt torch torchvision

FROM gpu-libraries AS gpu
COPY --from=source /opt/ecumene /opt/ecumene
RUN pip install -c constraints.txt '.[all]' && useradd --create-home ecumene
USER ecumene
WORKDIR /data
ENTRYPOINT ["ecumene"]
CMD ["--help"]
