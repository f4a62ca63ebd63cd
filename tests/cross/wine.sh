#!/bin/sh
# The program for Windows under wine: a session, what it has saved in another session, the prompt in a terminal, and the kernel
# with a client outside of wine. Of Debian it takes the packages wine64, gcc-mingw-w64-x86-64 and g++-mingw-w64-x86-64, of Rust
# the target's standard library (`rustup target add x86_64-pc-windows-gnu`) or the component rust-src.
#
#   tests/cross/wine.sh [TUNEBOOK.EXE]     without a program it is built first
set -eu
if [ $# -eq 0 ]; then
  (
    cd "$(dirname "$0")/../.."
    target=x86_64-pc-windows-gnu
    . tests/cross/standard_library.sh
    cargo build --release --package tunebook --target "$target" $std
  )
  set -- "${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}/x86_64-pc-windows-gnu/release/tunebook.exe"
fi
program=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
place=$(mktemp --directory)
export WINEPREFIX="$place/wine" WINEDEBUG=-all
wine=/usr/lib/wine/wine64
trap '/usr/lib/wine/wineserver64 --kill || true; rm --recursive --force "$place"' EXIT
python3 -m venv "$place/environment"
python=$place/environment/bin/python
"$python" -m pip install --quiet jupyter_client==8.10.0 pexpect==4.9.0
cp "$program" "$place/tunebook.exe"
cd "$place"
# Rust asks a library for random numbers that wine has from version 9 on.
cat > random.c <<'END_OF_C'
#include <windows.h>
#include <ntsecapi.h>
BOOL ProcessPrng(PBYTE data, SIZE_T length) { return RtlGenRandom(data, length); }
END_OF_C
x86_64-w64-mingw32-gcc -shared -o bcryptprimitives.dll random.c -ladvapi32
$wine wineboot --init 2> wineboot.log

echo "== the program"
$wine tunebook.exe version
$wine tunebook.exe env
echo "== a session"
cat > first.tune <<'END_OF_LINES'
demo
lora
train 100 output_dir=out save_steps=50
plot
chat image=images\creatures_held_out_0001.png Describe this creature.
predict max_samples=4
save adapter
save adapter
train 10
save adapter
export merged
export quantized format=gguf type=q8_0
undo 10
redo
END_OF_LINES
$wine tunebook.exe run first.tune
ls -a . out adapter merged quantized
echo "== a training is resumed, and an adapter loaded"
cat > second.tune <<'END_OF_LINES'
demo
resume out\checkpoint-50
train 10
adapter load adapter as saved
adapter use saved
chat image=images/creatures_held_out_0001.png Describe this creature.
sample 1
load merged
chat Hello
END_OF_LINES
$wine tunebook.exe run second.tune
echo "== lines through a pipe, of which one is refused"
if printf 'print from a pipe\nworkers 2\n' | $wine tunebook.exe > said 2>&1; then exit 1; fi
cat said
grep --quiet 'from a pipe' said
grep --quiet 'MPI' said
echo "== the prompt"
"$python" "$here/prompt.py" $wine tunebook.exe
echo "== the kernel"
"$python" "$here/kernel.py" $wine tunebook.exe
