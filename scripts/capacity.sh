#!/usr/bin/env bash
# Measures what calls cost a release server with everything on: both sides recorded and tapped, voice activity, events
# to disk, a prompt playing. Prints one row a run; the machine should have nothing else to do.
#
#   scripts/capacity.sh                        100, 500 and 1000 answered calls, bridged pairs, set-up rate
#   scripts/capacity.sh answered 100,500 30    answered calls, measured over 30 seconds once all stand
#   scripts/capacity.sh bridged 50,250         the same for pairs of bridged legs
#   scripts/capacity.sh setup 300 6000         6000 short calls at 300 a second, the server bound to one core
#   scripts/capacity.sh flat 50000             memory before and after so many short calls
#   scripts/capacity.sh rtpengine 50,250       the same pairs through rtpengine in user space, which only relays them
#
# SRTP=1: the server takes SRTP and nothing else, and the load speaks it. RECORD=false leaves recording out.
# It needs jq and curl; `rtpengine` also rtpengine and kamailio, and is skipped aloud where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

target="$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")"
antiphon="${ANTIPHON:-$target/release/antiphon}"
sip=127.0.0.1:5460
far=127.0.0.1:5461
proxy=127.0.0.1:5462
control=127.0.0.1:5463
http=127.0.0.1:8460
work="$(mktemp -d)"
server=
router=

fail() {
    printf 'capacity: %s\n' "$1" >&2
    exit 1
}

stop() {
    if [[ -n "$server" ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
    if [[ -n "$router" ]]; then
        kill "$router" 2>/dev/null || true
        wait "$router" 2>/dev/null || true
        router=
    fi
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 143' TERM

# Starts a server for up to $1 calls, the rest of the words before its command line (taskset).
start() {
    local calls="$1"
    shift
    cat >"$work/antiphon.toml" <<TOML
data = "$work/data"
[sip]
listen = "$sip"
[http]
listen = "$http"
[call]
concurrent = $calls
record = ${RECORD:-true}
[media]
rtp_ports = [20000, 31999]
codecs = ["PCMU", "PCMA"]
[recognizer]
engine = "none"
[flow]
file = "$work/flow.yaml"
[log]
level = "warn"
TOML
    # Everybody who calls from here is this trunk, and so has to protect his media where that is asked for.
    if [[ "${SRTP:-0}" == 1 && ! -f "$work/more.toml" ]]; then
        printf '[[trunk]]\nname = "callers"\nhosts = ["%s"]\nmatch = ["127.0.0.1"]\nsrtp = "required"\noptions_interval = "0s"\n' \
            "$far" >>"$work/antiphon.toml"
    fi
    if [[ -f "$work/more.toml" ]]; then cat "$work/more.toml" >>"$work/antiphon.toml"; fi
    "$@" "$antiphon" serve --config "$work/antiphon.toml" 2>"$work/server.log" &
    server=$!
    for _ in {1..100}; do
        if curl --silent --fail --output /dev/null "http://$http/metrics"; then
            if [[ "${SRTP:-0}" == 1 ]]; then refuses_plain; fi
            return
        fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    fail "the server does not start: $(tail -n 3 "$work/server.log")"
}

# Proves that the server takes no plain media: what is measured next is SRTP.
refuses_plain() {
    local answered
    answered="$("$antiphon" load --target "sip:$callee@$sip" --codec PCMU --total 1 --duration 100ms --json | jq .answered)" || true
    [[ "$answered" == 0 ]] || fail "the server is to take SRTP only, but answered a plain call"
}

# A line that talks for two minutes, so that our side has something to encode.
flow() {
    cat >"$work/flow.yaml" <<'YAML'
version: 1
name: capacity
revision: 1
settings: {language: en-US}
steps:
YAML
    local step
    for step in {1..16}; do
        cat >>"$work/flow.yaml" <<YAML
  step$step:
    say: Please hold the line until somebody has time for you. Somebody will be with you as soon as possible, and we thank you for your patience.
    interruptible: false
YAML
    done
    printf '  bye:\n    hang_up: Goodbye.\n' >>"$work/flow.yaml"
}

# Runs a load; $work/load.json is what it found.
load() {
    local options=(--target "sip:$callee@$sip" --codec PCMU --pid "$server" --json --at-most 20m)
    if [[ "${SRTP:-0}" == 1 ]]; then options+=(--srtp); fi
    "${with[@]}" "$antiphon" load "${options[@]}" "$@" >"$work/load.json" || true
    jq --exit-status .attempted "$work/load.json" >/dev/null || fail "the load did not run"
}

metric() { curl --silent "http://$http/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }

answered() {
    printf '%-7s %-9s %-12s %-9s %-11s %-10s %-11s %-9s %-12s %s\n' \
        calls answered '% core/call' 'MiB/call' 'set-up p95' 'first p95' 'worst tick' 'lost %' 'generator %' 'load average'
    local calls
    for calls in ${1//,/ }; do
        start $((calls + 50))
        # Once alone: the voice says each prompt for the first time, which is no cost of a call.
        load --total 1 --duration 15s
        load --total "$calls" --concurrent "$calls" --rate 50 --duration "$((calls / 50 + ${2:-20}))s"
        jq --raw-output --arg calls "$calls" --arg tick "$(metric antiphon_shard_worst_delay_seconds)" \
            --arg average "$(cut -d ' ' -f 1 /proc/loadavg)" '
            def r(n): . * pow(10; n) | round / pow(10; n);
            [$calls, .answered, (.server.steady_cpu_percent_per_call // .server.cpu_percent_per_call | r(3)),
             (.server.memory_per_call | r(3)), "\(.set_up_ms.p95 | r(1)) ms", "\(.first_rtp_ms.p95 | r(1)) ms",
             "\($tick | tonumber * 1000 | r(1)) ms", (.media.lost_percent | r(3)), (.generator.cpu_percent | r(1)), $average]
            | @tsv' "$work/load.json" |
            awk -F '\t' '{ printf "%-7s %-9s %-12s %-9s %-11s %-10s %-11s %-9s %-12s %s\n", $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 }'
        stop
        rm -rf "$work/data"
    done
}

# Pairs: each call that comes in is bridged to a trunk, whose far end the load answers as well.
bridged() {
    cat >"$work/more.toml" <<TOML
[[trunk]]
name = "far"
hosts = ["$far"]
match = ["127.0.0.1"]
allow = ["*"]
options_interval = "0s"
srtp = "$([[ "${SRTP:-0}" == 1 ]] && printf required || printf off)"
[[route]]
called = "200"
from = ["trunk:far"]
trunk = "far"
TOML
    printf '%-7s %-9s %-12s %-9s %-11s %-11s %-9s %-9s %-12s %s\n' \
        pairs answered '% core/pair' 'MiB/pair' 'set-up p95' 'worst tick' 'lost %' 'one-way' 'generator %' 'load average'
    local pairs
    callee=200
    for pairs in ${1//,/ }; do
        start $((pairs * 2 + 50))
        load --listen "$far" --total "$pairs" --concurrent "$pairs" --rate 25 --duration "$((pairs / 25 + ${2:-20}))s"
        jq --raw-output --arg pairs "$pairs" --arg tick "$(metric antiphon_shard_worst_delay_seconds)" \
            --arg average "$(cut -d ' ' -f 1 /proc/loadavg)" '
            def r(n): . * pow(10; n) | round / pow(10; n);
            [$pairs, .answered, (.server.steady_cpu_percent_per_call // .server.cpu_percent_per_call | r(3)),
             (.server.memory_per_call | r(3)), "\(.set_up_ms.p95 | r(1)) ms", "\($tick | tonumber * 1000 | r(1)) ms",
             "\(.media.lost_percent | r(3))/\(.far_legs.media.lost_percent | r(3))",
             .media.one_way_calls + .far_legs.media.one_way_calls, (.generator.cpu_percent | r(1)), $average]
            | @tsv' "$work/load.json" |
            awk -F '\t' '{ printf "%-7s %-9s %-12s %-9s %-11s %-11s %-9s %-9s %-12s %s\n", $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 }'
        stop
        rm -rf "$work/data"
    done
    callee=line
    rm "$work/more.toml"
}

# What a relay that does nothing else costs: kamailio signals, rtpengine passes the packets on in user space.
relayed() {
    local name
    for name in rtpengine kamailio; do
        if ! command -v "$name" >/dev/null; then
            printf 'capacity: rtpengine is not measured: %s is missing (Debian packages rtpengine-daemon and kamailio)\n' "$name" >&2
            return
        fi
    done
    cat >"$work/kamailio.cfg" <<CFG
debug=0
log_stderror=yes
children=2
disable_tcp=yes
listen=udp:$proxy
mpath="$(dirname "$(find /usr/lib -name rtpengine.so -path '*kamailio*' -print -quit 2>/dev/null)")"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:$control")
request_route {
    if (has_totag()) {
        if (!loose_route()) { sl_send_reply("404", "Not here"); exit; }
        if (is_method("BYE")) rtpengine_delete();
        t_relay();
        exit;
    }
    if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
    if (!is_method("INVITE")) { sl_send_reply("405", "Calls only"); exit; }
    record_route();
    rtpengine_offer("replace-origin replace-session-connection");
    t_on_reply("ANSWERED");
    \$du = "sip:$far";
    t_relay();
}
onreply_route[ANSWERED] {
    if (has_body("application/sdp")) rtpengine_answer("replace-origin replace-session-connection");
}
CFG
    printf '%-7s %-9s %-12s %-9s %-11s %-9s %-9s %-12s %s\n' \
        pairs answered '% core/pair' 'MiB/pair' 'set-up p95' 'lost %' 'one-way' 'generator %' 'load average'
    local pairs
    callee=200
    for pairs in ${1//,/ }; do
        rtpengine --foreground --log-stderr --log-level=3 --table=-1 --interface=127.0.0.1 --listen-ng="$control" \
            --port-min=20000 --port-max=31999 2>"$work/server.log" &
        server=$!
        kamailio -DD -E -f "$work/kamailio.cfg" -Y "$work" >"$work/router.log" 2>&1 &
        router=$!
        sleep 2
        kill -0 "$server" 2>/dev/null || fail "rtpengine does not start: $(tail -n 3 "$work/server.log")"
        kill -0 "$router" 2>/dev/null || fail "kamailio does not start: $(tail -n 3 "$work/router.log")"
        sip="$proxy" load --listen "$far" --total "$pairs" --concurrent "$pairs" --rate 25 --duration "$((pairs / 25 + ${2:-20}))s"
        jq --raw-output --arg pairs "$pairs" --arg average "$(cut -d ' ' -f 1 /proc/loadavg)" '
            def r(n): . * pow(10; n) | round / pow(10; n);
            [$pairs, .answered, (.server.steady_cpu_percent_per_call // .server.cpu_percent_per_call | r(3)),
             (.server.memory_per_call | r(3)), "\(.set_up_ms.p95 | r(1)) ms",
             "\(.media.lost_percent | r(3))/\(.far_legs.media.lost_percent | r(3))",
             .media.one_way_calls + .far_legs.media.one_way_calls, (.generator.cpu_percent | r(1)), $average]
            | @tsv' "$work/load.json" |
            awk -F '\t' '{ printf "%-7s %-9s %-12s %-9s %-11s %-9s %-9s %-12s %s\n", $1, $2, $3, $4, $5, $6, $7, $8, $9 }'
        stop
    done
    callee=line
}

setup() {
    start 1000 taskset --cpu-list 0
    with=(taskset --cpu-list 1)
    load --total 1 --duration 15s
    load --total "$2" --rate "$1" --concurrent 900 --duration 200ms --no-media
    with=()
    jq --raw-output '"\(.answered) of \(.attempted) calls at \(.rate | round) a second; " +
        "\(.server.cpu_ms_per_call * 100 | round / 100) ms of processor time a call, " +
        "\(.server.cpu_percent | round) % of the one core; set-up p50 \(.set_up_ms.p50) ms, p95 \(.set_up_ms.p95) ms; " +
        "failed: \(.failed)"' "$work/load.json"
    stop
}

flat() {
    start 1000
    load --total 1000 --rate 300 --concurrent 900 --duration 100ms --no-media
    local before after
    sleep 40 # until the transactions of the first thousand are forgotten
    before="$(awk '/VmRSS/ { print $2 }' "/proc/$server/status")"
    load --total "$1" --rate 300 --concurrent 900 --duration 100ms --no-media
    sleep 40
    after="$(awk '/VmRSS/ { print $2 }' "/proc/$server/status")"
    jq --raw-output '"\(.answered) of \(.attempted) calls at \(.rate | round) a second, failed: \(.failed)"' "$work/load.json"
    printf 'resident after 1000 calls and 40 s: %s kB; after %s more and 40 s: %s kB\n' "$before" "$1" "$after"
    stop
}

with=()
callee=line
for needed in jq curl; do
    command -v "$needed" >/dev/null || fail "$needed is missing: sudo apt-get install $needed"
done
[[ -x "$antiphon" ]] || fail "$antiphon is missing: make build"
flow
case "${1:-all}" in
    all)
        answered 100,500,1000
        bridged 50,250,500
        relayed 50,250,500
        setup 300 6000
        ;;
    answered) answered "${2:-100,500,1000}" "${3:-20}" ;;
    bridged) bridged "${2:-50,250,500}" "${3:-20}" ;;
    rtpengine) relayed "${2:-50,250,500}" "${3:-20}" ;;
    setup) setup "${2:-300}" "${3:-6000}" ;;
    flat) flat "${2:-50000}" ;;
    *) fail "answered, bridged, rtpengine, setup or flat" ;;
esac
