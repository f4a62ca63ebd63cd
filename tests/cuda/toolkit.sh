#!/bin/sh
# A CUDA 13.0 build toolkit from PyPI wheels, on a machine without a GPU and without root.
#
#   toolkit.sh [PREFIX]      (default: the folder of this script)
#
# makes PREFIX/cu13 (about 1.2 GB on disk, 1 minute) and PREFIX/env.sh. Then:
#
#   . PREFIX/env.sh && cargo build --release --features cuda
#
# Needs python3 with pip, gcc and g++ (nvcc's host compiler; gcc 12 is known to work).
# A driver of the 580 series or later runs what this builds, on a GPU of compute capability 9.0.
set -eu

prefix=$(mkdir -p "${1:-$(dirname "$0")}" && cd "${1:-$(dirname "$0")}" && pwd)
wheels=$prefix/cu13
cuda=$wheels/nvidia/cu13

# 1. The parts of the toolkit that nvcc, candle-kernels and cudarc need, all of the 13.0 release.
#    --no-deps: the wheels' own dependencies are these same wheels, with looser versions.
#    nvcc, ptxas | cicc, libdevice | crt/ headers | cudart, cuda.h | cub, libcu++ | libraries to link.
rm -rf "$wheels"
python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$wheels" \
    nvidia-cuda-nvcc==13.0.88 \
    nvidia-nvvm==13.0.88 \
    nvidia-cuda-crt==13.0.88 \
    nvidia-cuda-runtime==13.0.96 \
    nvidia-cuda-cccl==13.0.85 \
    nvidia-curand==10.4.0.35 \
    nvidia-cublas==13.0.2.14 \
    nvidia-cuda-nvrtc==13.0.88

# 2. Wheels carry only versioned libraries (libcublas.so.13); the linker's -lcublas wants libcublas.so.
for lib in "$cuda"/lib/lib*.so.*; do
    name=$(basename "$lib")
    ln -sf "$name" "$cuda/lib/${name%%.so.*}.so"
done

# 3. nvcc and cudaforge look in lib64.
ln -sfn lib "$cuda/lib64"

# 4. libcuda.so belongs to the driver and comes in no wheel. To link, a stub with the same soname
#    suffices: an empty function for each name that cuda.h mentions. (The program then loads the
#    driver's libcuda.so.1 at run time; without it, it does not start.)
mkdir -p "$cuda/lib/stubs"
grep -oE '\bcu[A-Z][A-Za-z0-9_]*' "$cuda/include/cuda.h" | sort -u \
    | sed 's/.*/int &(void) { return 100; } \/* CUDA_ERROR_NO_DEVICE *\//' \
    | gcc -w -shared -fPIC -Wl,-soname,libcuda.so.1 -x c - -o "$cuda/lib/stubs/libcuda.so"

# 5. What a build needs from the environment.
cat > "$prefix/env.sh" <<EOF
# Written by toolkit.sh. Source this before cargo build --features cuda.
# cudarc finds libraries by the first four, candle-kernels finds nvcc by PATH.
export CUDA_HOME=$cuda
export CUDA_PATH=\$CUDA_HOME
export CUDA_ROOT=\$CUDA_HOME
export CUDA_TOOLKIT_ROOT_DIR=\$CUDA_HOME
export PATH=\$CUDA_HOME/bin:\$PATH
# With no GPU to ask, the kernels' target: 90 is sm_90a (H100, H200).
export CUDA_COMPUTE_CAP=90
# For the linker of crates that name no search path of their own (candle-kernels: -lcudart).
export LIBRARY_PATH=\$CUDA_HOME/lib:\$CUDA_HOME/lib/stubs\${LIBRARY_PATH:+:\$LIBRARY_PATH}
EOF

# 6. A small kernel compiles.
. "$prefix/env.sh"
nvcc --version | grep release
echo '__global__ void probe(float *x) { x[threadIdx.x] *= 2.0f; }' > "$prefix/probe.cu"
nvcc -ptx -arch=sm_90a -o "$prefix/probe.ptx" "$prefix/probe.cu"
grep -q '\.target sm_90a' "$prefix/probe.ptx"
rm "$prefix/probe.cu" "$prefix/probe.ptx"
echo "toolkit: $cuda"
