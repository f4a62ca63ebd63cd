#!/bin/bash
# Builds llama.cpp in target/llama.cpp, out of llama-cpp-python's source package, and has answers.py compare its answers with
# tunebook's. Takes python3 with venv, a C++ compiler, a network the first time, and about 15 minutes of two cores.
#
# tests/gguf/llama_cpp.sh [build]      with `build`, only builds, for tests/reference/gguf.py
set -euo pipefail
cd "$(dirname "$0")/../.."
VERSION=0.3.36
place=$PWD/target/llama.cpp
source=$place/llama_cpp_python-$VERSION/vendor/llama.cpp
mkdir -p "$place"
if [ ! -x "$source/build/bin/llama-server" ]; then
    python3 -m venv "$place/venv"
    "$place/venv/bin/pip" install --quiet cmake==4.4.5 ninja==1.13.2 numpy==2.4.6
    "$place/venv/bin/pip" download --quiet --no-deps --no-binary llama-cpp-python --dest "$place" llama-cpp-python==$VERSION
    tar -xf "$place/llama_cpp_python-$VERSION.tar.gz" -C "$place"
    export PATH="$place/venv/bin:$PATH"
    cmake -G Ninja -S "$source" -B "$source/build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF
    nice ninja -C "$source/build" llama-server llama-mtmd-cli llama-quantize
fi
[ "${1-}" = build ] && exit
cargo build --release -p tunebook --features rust-cells
exec "$place/venv/bin/python" tests/gguf/answers.py target/release/tunebook "$source"
