#!/usr/bin/env bash
# Print the path of a Horovod wheel for this machine's torch, building it (some minutes) when the cache has none.
#   infra/horovod/build.sh PYTHON      PYTHON has torch and setuptools installed, as requirements/train.txt pins them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$1

say() { echo "horovod: $*" >&2; }

# A wheel fits one Horovod, torch, Python, C library and recipe; any of them new means another wheel.
recipe=$(cat "$here"/build.sh "$here"/*.txt | sha256sum | cut -c1-8)
key=$("$python" -c '
import platform, sys, sysconfig
from importlib.metadata import version
print("torch" + version("torch"), sys.implementation.cache_tag, sysconfig.get_platform(), *platform.libc_ver(), sep="-")
')
cache=${XDG_CACHE_HOME:-$HOME/.cache}/clm-spark/wheels/horovod-$key-$recipe

cached() { compgen -G "$cache/horovod-*.whl"; }

if cached; then
    say "taken from $cache" # the wheel's path went to standard output
    exit
fi

mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$cache/build.log
try() {
    "$@" >>"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        say "'$1 ...' failed; the whole story is in $log"
        exit 1
    }
}
: >"$log"

say "fetching the source and CMake"
# pip asks an sdist for its metadata, which takes setuptools: PYTHON has the pinned one.
try "$python" -m pip download --no-deps --no-build-isolation --no-binary horovod --require-hashes \
    --requirement "$here/requirements.txt" --dest "$work/sdist"
try "$python" -m pip install --require-hashes --requirement "$here/tools.txt" --target "$work/tools"
try tar -xzf "$work"/sdist/horovod-*.tar.gz -C "$work" --strip-components 1 --one-top-level=source
cd "$work/source"

# torch's headers are C++20 by now; Horovod's last release asks for 14.
try grep -q 'CMAKE_CXX_STANDARD 14' CMakeLists.txt
try sed -i 's/CMAKE_CXX_STANDARD 14/CMAKE_CXX_STANDARD 20/' CMakeLists.txt horovod/torch/CMakeLists.txt

say "compiling (4 minutes on two cores); messages go to $log"
# Inside `make`, its own flags would reach Horovod's; unset, Horovod starts eight compilers whatever the machine.
export MAKEFLAGS="-j$(nproc)"
export HOROVOD_CMAKE=$work/tools/cmake/data/bin/cmake
export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1
export HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
try "$python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$work/wheel" .

say "trying the wheel"
try "$python" -m pip install --no-deps --no-index --target "$work/trial" "$work"/wheel/horovod-*.whl
cd "$work" # away from the source folder, which has a package of the same name
PYTHONPATH=$work/trial try "$python" -c 'import horovod.torch as hvd; hvd.init(); assert hvd.gloo_built() and hvd.size() == 1'

# Copied beside its place, then renamed: a wheel in the cache is a whole one.
cp "$work"/wheel/horovod-*.whl "$cache/.$$.part"
mv "$cache/.$$.part" "$cache/$(basename "$work"/wheel/horovod-*.whl)"
say "built in $SECONDS s"
cached
