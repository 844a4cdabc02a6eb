#!/usr/bin/env bash
# Sets up a machine for Antiphon: Debian packages, the Rust toolchain's version, and (for `test`) cargo's tools.
# Says what it does, may be run again at any time, and takes about a second when nothing is to be done.
#
#   scripts/setup.sh run     what building and running needs (`make build`, `make demo`)
#   scripts/setup.sh test    that, and what the tests need (`make test`)
set -euo pipefail
cd "$(dirname "$0")/.."

# Every package with the one reason it is here.
run_packages=(
    build-essential        # C and C++ compilers, for the libraries below and crates that bring C
    pkg-config             # finds the libraries
    cmake                  # builds the libraries that crates bring along: Opus, and whisper where it is asked for
    libpocketsphinx-dev    # the default recogniser
    pocketsphinx-en-us     # its US English model
    flite flite1-dev       # the English voice
    espeak-ng              # the voice for Mandarin and other languages
    libmp3lame0            # LAME, loaded where speech is asked for as mp3
    fonts-dejavu-core      # words on waveform pictures
    fonts-wqy-microhei     # the same for Chinese: 5 MB, where Noto's CJK fonts take 91 MB
    curl                   # answers in scripts and in the README's examples
)
test_packages=(
    sip-tester             # SIPp: scripted SIP calls, early cancels, floods
    baresip-core           # an independent softphone that calls Antiphon, without its graphical parts
    kamailio               # an independent registrar and proxy
    kamailio-tls-modules   # the same over TLS
    tshark                 # an independent eye on RTP and RTCP
    sox                    # an independent reader of recordings
    opus-tools             # an independent writer of Opus files
    clang libclang-dev     # bindings of the whisper engine
    chromium               # an independent browser: calls from a web page
    postgresql             # the store's other database, started by its tests in folders of their own
    coturn                 # an independent relay (TURN) for pages behind firewalls
    linphone-cli           # a second independent softphone
    shellcheck             # lints these scripts
    openssl                # an independent end of DTLS handshakes
    libbcg729-dev          # G.729, for the tests of that feature
    python3-venv           # a folder of its own for what is listed below
    libasound2-dev         # the microphone and loudspeaker of `antiphon talk`
)
# Fetches the library of a telephone in a web page. Node.js from elsewhere brings its own, beside which Debian's has no room.
command -v npm >/dev/null || test_packages+=(npm)

rust_minimum=1.94.0
nextest_minimum=0.9.100
nextest_version=0.9.128
deny_version=0.20.2
schemathesis_version=4.32.5
pyarrow_version=26.0.1
openai_version=3.54.0
deepgram_version=7.17.0
websockets_version=17.4
tools="$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/tools"

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf '\nsetup: cannot go on: %s\n' "$1" >&2
    shift
    printf '  %s\n' "$@" >&2
    exit 1
}

# Whether version $1 is at least version $2.
at_least() { [[ "$(printf '%s\n%s\n' "$2" "$1" | sort --version-sort | head -n 1)" == "$2" ]]; }

check_rust() {
    command -v cargo >/dev/null || fail "there is no Rust toolchain (the command 'cargo' is not found)." \
        "Antiphon is written in Rust and needs version $rust_minimum or newer. Debian 12's own is too old." \
        "Get it from https://www.rust-lang.org/tools/install (the program is called rustup; it needs no root)," \
        "open a new terminal so that 'cargo --version' answers, and run this again."
    local version
    version="$(rustc --version | cut -d ' ' -f 2)"
    at_least "$version" "$rust_minimum" || fail "Rust $version is too old; $rust_minimum or newer is needed." \
        "With rustup: rustup update stable"
    say "Rust $version"
}

check_components() {
    local missing=()
    cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
    ((${#missing[@]})) || return 0
    command -v rustup >/dev/null || fail "the Rust toolchain lacks: ${missing[*]}." \
        "Install the same version's packages of these names from where the toolchain came."
    say "adding to the Rust toolchain: ${missing[*]}"
    rustup component add "${missing[@]}" || fail "rustup could not add: ${missing[*]}." \
        "Run: rustup component add ${missing[*]}"
}

# Without apt-get nothing can be installed here, but the machine may well have everything.
check_without_apt() {
    local missing=() command
    for command in cc c++ cmake pkg-config flite espeak-ng; do
        command -v "$command" >/dev/null || missing+=("the command $command")
    done
    pkg-config --exists pocketsphinx 2>/dev/null || missing+=("the library pocketsphinx with its headers")
    if [[ "$1" == test ]]; then
        for command in sipp baresip kamailio tshark sox opusenc clang chromium turnserver linphonec npm openssl shellcheck python3; do
            command -v "$command" >/dev/null || missing+=("the command $command")
        done
        pkg-config --exists alsa 2>/dev/null || missing+=("the library alsa with its headers")
    fi
    ((${#missing[@]})) || { say "no apt-get here, but everything needed is there"; return 0; }
    fail "this machine has no apt-get, and these are missing:" "${missing[@]}" "" \
        "Also needed: PocketSphinx's US English model, the DejaVu fonts and a Chinese font." \
        "On Debian 12 this script installs all of it."
}

install_packages() {
    local wanted=("$@") missing=() name
    declare -A present=()
    while read -r status name; do
        [[ "$status" == installed ]] && present["$name"]=yes
    done < <(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
    for name in "${wanted[@]}"; do
        [[ -n "${present[$name]:-}" ]] || missing+=("$name")
    done
    if ((${#missing[@]} == 0)); then
        say "Debian packages: all ${#wanted[@]} are installed"
        return 0
    fi
    say "Debian packages to install: ${missing[*]}"
    local as_root=()
    if ((EUID != 0)); then
        # Ask for a password only where somebody can type one.
        if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo true; }; }; then
            as_root=(sudo)
        else
            fail "${#missing[@]} Debian packages are missing and only root may install them." \
                "Give this line to whoever administers the machine, then run this again:" "" \
                "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
        fi
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
    say "reading the package lists"
    "${apt[@]}" -qq update || fail "the package lists could not be read." \
        "apt-get's own words are above. Is the Debian mirror reachable from here?"
    say "downloading and installing (apt-get shows what)"
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" ||
        fail "apt-get could not install the packages." "Its own words are above. To try by hand:" \
            "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    say "Debian packages: installed ${#missing[@]}"
}

# Version of cargo's subcommand $1, from our own tools or the machine's; empty where there is none.
tool_version() { PATH="$tools/bin:$PATH" "cargo-$1" "$1" --version 2>/dev/null | head -n 1 | cut -d ' ' -f 2 || true; }

# Builds cargo's subcommand $1 at version $2 into our own tools; $3.. are cargo's own flags.
# Unoptimised, since it is built far more often than it works: cargo-deny takes minutes less.
install_tool() {
    local tool="$1" version="$2"
    shift 2
    say "building cargo-$tool $version, once, into $tools (two minutes on two cores)"
    PATH="$tools/bin:$PATH" CARGO_TARGET_DIR="$tools/build" cargo install --debug --locked --root "$tools" \
        --version "$version" "cargo-$tool" "$@" ||
        fail "cargo-$tool could not be built." "cargo's own words are above. Is cargo's registry reachable from here?"
    rm -rf "$tools/build"
    say "cargo-$tool $version is ready"
}

check_tools() {
    local have
    have="$(tool_version nextest)"
    if [[ -n "$have" ]] && at_least "$have" "$nextest_minimum"; then
        say "cargo-nextest $have"
    else
        install_tool nextest "$nextest_version" --no-default-features
    fi
    have="$(tool_version deny)"
    if [[ "$have" == "$deny_version" ]]; then
        say "cargo-deny $have"
    else
        install_tool deny "$deny_version" --no-default-features
    fi
}

# Schemathesis tries the API as its description says, pyarrow reads our Parquet files, and the clients of other services ask
# ours: the tests look for them here.
check_python_tools() {
    local folder="$tools/python"
    local wanted=(
        "schemathesis==$schemathesis_version" "pyarrow==$pyarrow_version" "openai==$openai_version"
        "deepgram-sdk==$deepgram_version" "websockets==$websockets_version"
    )
    if [[ -x "$folder/bin/schemathesis" && "$(cat "$folder/wanted" 2>/dev/null)" == "${wanted[*]}" ]]; then
        say "${wanted[*]}"
        return 0
    fi
    say "installing ${wanted[*]} into $folder"
    rm -rf "$folder"
    python3 -m venv "$folder" || fail "python3 could not make the folder $folder." \
        "Its own words are above. On Debian the package python3-venv is needed."
    "$folder/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}" ||
        fail "pip could not install ${wanted[*]}." "Its own words are above. Is Python's package registry reachable from here?"
    printf '%s' "${wanted[*]}" >"$folder/wanted"
}

main() {
    local purpose="${1:-run}" packages=("${run_packages[@]}")
    case "$purpose" in
        run) ;;
        test) packages+=("${test_packages[@]}") ;;
        *) fail "'$purpose' is not something to set up for." "Say: scripts/setup.sh run, or: scripts/setup.sh test" ;;
    esac
    check_rust
    [[ "$purpose" == run ]] || check_components
    if command -v apt-get >/dev/null; then
        install_packages "${packages[@]}"
    else
        check_without_apt "$purpose"
    fi
    [[ "$purpose" == run ]] || { check_tools; check_python_tools; }
}

main "$@"
