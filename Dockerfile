# tunebook in a container:
#
#   docker build --tag tunebook .
#   docker run --interactive --tty --volume ./models:/models:ro --volume ./work:/work tunebook
#
# and JupyterLab with its kernel:
#
#   docker build --target jupyter --tag tunebook-jupyter .
#   docker run --publish 127.0.0.1:8888:8888 --volume ./work:/work tunebook-jupyter
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The version is the image's; nothing else is fetched.
RUN rm rust-toolchain.toml
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package tunebook && strip -o /tunebook target/release/tunebook

FROM debian:bookworm-slim AS base
RUN useradd --create-home --uid 1000 tunebook && install --directory --owner tunebook --group tunebook /work
COPY --from=build /tunebook /usr/local/bin/tunebook
WORKDIR /work

FROM base AS jupyter
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm --recursive /var/lib/apt/lists/* \
    && python3 -m venv /opt/jupyter \
    && /opt/jupyter/bin/pip install --no-cache-dir jupyterlab \
    && tunebook kernel install --prefix /opt/jupyter
USER tunebook
EXPOSE 8888
ENTRYPOINT ["/opt/jupyter/bin/jupyter", "lab", "--ip=0.0.0.0", "--no-browser"]

FROM base
USER tunebook
ENTRYPOINT ["tunebook"]
