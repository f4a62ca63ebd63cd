#!/bin/sh
# How long a newcomer waits from `pip install` to a model that has learned the demo's creatures, on a Debian with nothing on
# it but Python: one of its own, made with debootstrap (of Debian's package of that name), without a network while it is
# measured. As root. Fails if it takes longer than a minute.
#
#   tests/wheel/newcomer.sh WHEEL [FOLDER]     FOLDER keeps the Debian for the next time
set -eu
wheel=$(realpath "$1")
if [ $# -gt 1 ]; then
  debian=$2
else
  debian=$(mktemp --directory)
  trap 'rm --recursive --force "$debian"' EXIT
fi
if [ ! -x "$debian/usr/bin/python3" ]; then
  debootstrap --variant=minbase --include=python3,python3-venv stable "$debian"
fi
rm --recursive --force "$debian/root"
mkdir "$debian/root"
cp "$wheel" "$debian/root"
# What the wheel needs, for the Python that is there.
version=$(chroot "$debian" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
python3 -m pip --quiet --disable-pip-version-check download --only-binary :all: --python-version "$version" \
  --dest "$debian/root" "$wheel"
cat > "$debian/root/newcomer.sh" <<'END'
set -eu
cd "$HOME"
now() { date +%s.%N; }
python3 -m venv environment
begin=$(now)
environment/bin/pip install --quiet --no-index --disable-pip-version-check --find-links . ./tunebook-*.whl
installed=$(now)
printf 'demo\nlora\ntrain\nchat image=images/creatures_held_out_0001.png Describe this creature.\n' |
  environment/bin/python -m tunebook | tee said
trained=$(now)
grep --quiet 'This is Marmobo' said
echo "$begin $installed $trained" | awk '{
  printf "install %.1f s, demo and training %.1f s, together %.1f s\n", $2 - $1, $3 - $2, $3 - $1
  exit ($3 - $1 > 60)
}'
END
unshare --mount --net --pid --fork sh -eu -c '
  mount --bind /dev "$1/dev"
  mount -t proc proc "$1/proc"
  exec chroot "$1" env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/bin:/bin sh /root/newcomer.sh
' - "$debian"
