#!/usr/bin/env bash
# Make .venv hold one extra of pyproject.toml, exactly as requirements/ pins it. A second time takes a second.
#   infra/setup.sh [spark|train|bench|dev]      spark: tables and MLlib, no torch; dev: everything but the baselines of the benchmarks
# Exits with 2 and one line when the machine lacks something that this script may not install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extra=${1:-train}
venv=$PWD/.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0 # a user's `pip install --user` default does not fit a venv

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 2
}

# Which extras hold all that the asked one needs.
case $extra in
    spark) holders="spark train bench dev" ;;
    train) holders="train dev" ;;
    bench | dev) holders=$extra ;;
    *) fail "extra '$extra' is unknown: give spark, train, bench or dev (make setup EXTRA=spark)" ;;
esac
trains() { [[ $extra == train || $extra == dev ]]; }

# Whatever decides what lies in .venv; the tools' settings in pyproject.toml do not.
fingerprint=$({
    echo "$venv"
    cat requirements/*.txt infra/setup.sh infra/horovod/*
    sed '/^\[tool\./,$d' pyproject.toml
} | sha256sum | cut -c1-16)
stamps=$venv/.clm-setup/$fingerprint

is_done() {
    local holder
    "$venv/bin/python" -c '' 2>/dev/null || return 1
    for holder in $holders; do
        [[ -f $stamps/$holder ]] && return 0
    done
    return 1
}

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        # Run, not only found: a version manager's shim may name a Python that is not there.
        "$name" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null &&
            command -v "$name" && return
    done
    return 1
}

has_java() {
    local major
    major=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p')
    ((${major:-0} >= 17))
}

has_headers() { "$1" -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").is_file())'; }

# Sets `python`, and `lacks` and `packages`: what is missing in words and as Debian's packages.
look_at_machine() {
    lacks=() packages=()
    python=$(find_python) || {
        lacks+=("Python 3.11 to 3.13 with venv") packages+=(python3 python3-venv)
    }
    has_java || {
        lacks+=("Java 17 or later") packages+=(openjdk-17-jre-headless)
    }
    trains || return 0
    command -v g++ >/dev/null || {
        lacks+=("g++ (Horovod is compiled)") packages+=(g++)
    }
    if [[ -z $python ]]; then
        packages+=(python3-dev)
    elif ! has_headers "$python"; then
        lacks+=("Python's headers (Horovod is compiled)") packages+=("$(basename "$(readlink -f "$python")")-dev")
    fi
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # Newer releases have dropped Java 17 for 21.
    apt-cache show openjdk-17-jre-headless >/dev/null 2>&1 || set -- "${@/openjdk-17/openjdk-21}"
    say "installing with apt-get: $*"
    apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

check_machine() {
    look_at_machine
    if ((${#lacks[@]})) && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        apt_install "${packages[@]}" && look_at_machine
    fi
    ((${#lacks[@]} == 0)) || fail "this machine lacks $(printf '%s, ' "${lacks[@]}" | sed 's/, $//')." \
        "Debian, Ubuntu: sudo apt-get install ${packages[*]}. Then run this again"
}

make_venv() {
    # A venv names its own path in its scripts: one that was moved or has lost its Python is made anew.
    if [[ -d $venv ]] && ! { "$venv/bin/python" -c '' 2>/dev/null && grep -qF "$venv" "$venv/bin/activate"; }; then
        say "making .venv anew: it was moved, or its Python is gone"
        rm -rf "$venv"
    fi
    [[ -d $venv ]] || {
        say "making .venv with $("$python" -V)"
        "$python" -m venv "$venv"
    }
    mkdir -p "$stamps"
    find "$venv/.clm-setup" -mindepth 1 -maxdepth 1 ! -path "$stamps" -exec rm -rf {} +
}

pip_install() { "$venv/bin/python" -m pip install "$@"; }

# pip's own lines, less those on the hundred small packages.
only_large() { sed -un -E 's/^ *((Downloading|Using cached) [^ ]+) \(([0-9]{2,}\.[0-9]) MB\)$/setup:   \1, \3 MB/p; s/^Installing collected packages.*/setup:   unpacking/p'; }

install_requirements() {
    local size=""
    trains && size=", 5.3 GB of it torch with its CUDA libraries"
    say "installing requirements/$extra.txt$size"
    pip_install --quiet --require-hashes --requirement requirements/build.txt
    # pyspark comes as source: built in isolation, pip would fetch its build backend without a hash.
    pip_install --require-hashes --no-build-isolation --use-pep517 --requirement "requirements/$extra.txt" | only_large
}

install_horovod() {
    local wheel
    say "installing Horovod"
    wheel=$(infra/horovod/build.sh "$venv/bin/python")
    pip_install --quiet --no-deps --no-index --force-reinstall "$wheel"
}

install_clm() {
    say "installing clm-spark itself, from this folder"
    pip_install --quiet --no-deps --no-index --no-build-isolation --editable .
}

# What the archive of classes follows from beside .venv: another JVM cannot use it.
startup_stamp() { echo "$stamps/startup-$({ "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 && cat infra/startup.py; } | sha256sum | cut -c1-16)"; }

prepare_startup() {
    local stamp
    stamp=$(startup_stamp)
    [[ -f $stamp ]] && return
    say "archiving the classes that a session loads, which takes a minute or two"
    # Sessions start without it as well, only later.
    "$venv/bin/python" infra/startup.py >"$venv/.clm-setup/startup.log" 2>&1 ||
        say "without success (.venv/.clm-setup/startup.log): sessions take some seconds longer to start"
    touch "$stamp"
}

exec 9<infra/setup.sh
flock 9 # two makes at once must not fill one .venv
if ! is_done; then
    check_machine
    make_venv
    install_requirements
    if trains; then install_horovod; fi
    install_clm
    touch "$stamps/$extra"
    say "done in $SECONDS s"
fi
prepare_startup
