#!/bin/bash
# Builds the fuzz targets and runs each for some seconds, one after the other; ends with a table. Needs the toolchain of the
# workspace and a C++ compiler, nothing else.
#   fuzz/run.sh [SECONDS [TARGET...]]        600 seconds each if not said otherwise
# What was found and learnt stays in fuzz-run under the target folder: corpus/TARGET, artifacts/TARGET, logs.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true
# A folder of its own: these flags are no other build's.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../target}/fuzz-run
triple=$(rustc -vV | sed -n 's/^host: //p')
sanitize="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  sanitize+=" -Cllvm-args=-sanitizer-coverage-$option"
done
export RUSTFLAGS="$sanitize --cfg fuzzing -Cdebug-assertions -Coverflow-checks"
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for file in fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
cargo build --locked --release --target "$triple" "${targets[@]/#/--bin=}"
folder=$(cd "$CARGO_TARGET_DIR" && pwd)
failed=0
table=""
for target in "${targets[@]}"; do
  mkdir -p "$folder/corpus/$target" "$folder/artifacts/$target" "seeds/$target"
  log="$folder/$target.log"
  status=0
  "$folder/$triple/release/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$folder/artifacts/$target/" "$folder/corpus/$target" "seeds/$target" >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
  edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -1)
  found=$(find "$folder/artifacts/$target" -type f | wc -l)
  table+="| $target | $seconds s | ${runs:-?} | ${edges:-?} | $found |"$'\n'
  if [ "$status" -ne 0 ]; then
    failed=1
    tail -40 "$log"
  fi
done
printf '| target | time | executions | edges | findings |\n|---|---|---|---|---|\n%s' "$table"
exit "$failed"
