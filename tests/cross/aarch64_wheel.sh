#!/bin/sh
# The Python package for ARM64: it is made as the release makes it, installed as pip would there, and its program and kernel run
# on an emulated processor. Of Debian it takes the packages qemu-user and libc6-arm64-cross, of Rust the target's standard library
# (`rustup target add aarch64-unknown-linux-gnu`) or the component rust-src.
#
#   tests/cross/aarch64_wheel.sh [WHEEL]     without one it is made first, which takes half an hour on two cores
set -eu
here=$(realpath "$(dirname "$0")")
target=aarch64-unknown-linux-gnu
libc=/usr/aarch64-linux-gnu
newest=2_28
largest=45000000
place=$(mktemp --directory)
trap 'rm --recursive --force "$place"' EXIT
python3 -m venv "$place/environment"
bin=$place/environment/bin
"$bin/pip" install --quiet "maturin[zig]==1.16.0" jupyter_client==8.10.0 auditwheel==6.8.2
if [ $# -eq 0 ]; then
  (
    cd "$here/../.."
    . tests/cross/standard_library.sh
    PATH=$bin:$PATH
    cd repl
    maturin build --release --strip --zig --compatibility "manylinux_$newest" --target "$target" $std \
      --out "$place"
  )
  set -- "$place"/*.whl
fi
wheel=$(realpath "$1")
cd "$place"

echo "== what is in it"
python3 -m zipfile --list "$wheel"
size=$(stat --format %s "$wheel")
echo "$wheel: $size bytes"
[ "$size" -lt $largest ]
"$bin/auditwheel" show "$wheel" | tee audited
grep --quiet "manylinux_${newest}_aarch64" audited
# Another machine's package may only go into a folder of its own.
"$bin/pip" install --quiet --no-index --no-deps --target "$place/installed" --only-binary :all: \
  --platform "manylinux_${newest}_aarch64" "$wheel"
program=$place/installed/bin/tunebook

# What starts the program starts the emulator.
mv "$program" "$program.arm64"
printf '#!/bin/sh\nexec qemu-aarch64 -L %s %s "$@"\n' "$libc" "$program.arm64" > "$program"
chmod +x "$program"
export PYTHONPATH="$place/installed" XDG_CACHE_HOME="$place/cache" XDG_DATA_HOME="$place/data" JUPYTER_PATH="$place/installed/share/jupyter"

echo "== the program"
"$program" version
"$program" env
echo "== lines through a pipe"
printf 'demo\nlora\ntrain 3\nchat image=images/creatures_held_out_0001.png Describe this creature.\n' | "$program"
echo "== the kernel, as Jupyter starts it"
"$bin/python" "$here/kernel.py"
