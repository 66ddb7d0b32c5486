# How the two commands build and say what they do. To be sourced.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
jobs="${JOBS:-$(nproc)}"

step() {
  printf '\n=== %s\n' "$*" >&2
}

# build PRESET [TARGET...] configures and builds; all targets when none is named.
build() {
  local preset="$1" target targets=()
  shift
  for target in "$@"; do
    targets+=(--target "$target")
  done
  step "Building preset $preset with $jobs jobs: build/$preset"
  (cd "$root" && cmake --preset "$preset" --log-level=WARNING >/dev/null &&
    cmake --build "build/$preset" --parallel "$jobs" "${targets[@]}") >&2
}
