# The Debian packages that the project needs, in one place, and how they are
# installed. To be sourced.

# What building needs. Configuring asks for GoogleTest too.
build_packages=(
  g++ cmake ninja-build ccache pkg-config
  libgrpc++-dev libgrpc-dev protobuf-compiler-grpc grpc-proto
  libprotobuf-dev libprotoc-dev protobuf-compiler libabsl-dev
  libwebsocketpp-dev libasio-dev nlohmann-json3-dev libssl-dev
  prometheus-cpp-dev libspdlog-dev libcpp-httplib-dev libcli11-dev
  libyaml-cpp-dev libsqlite3-dev libgtest-dev libgmock-dev
)

# What testing needs beside that. Node.js and Go are added when there are none:
# see missing_runtimes.
test_packages=(
  clang clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev llvm-14
  python3 python3-grpcio python3-protobuf python3-websockets python3-pytest
  python3-setuptools python3-wheel python3-venv python3-pip
  chromium curl ca-certificates openssl
)

# The packages of the runtimes that are not there in a usable version, from
# whatever source: Node.js 18 with npm, and Go 1.19.
missing_runtimes() {
  if ! command -v npm >/dev/null ||
      ! node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null; then
    echo nodejs npm
  fi
  if ! go version 2>/dev/null | grep -qE 'go1\.(19|[2-9][0-9])'; then
    echo golang-go
  fi
}

# install_packages NAME... installs what is missing; asks apt nothing when
# everything is there.
install_packages() {
  local installed missing=() package
  installed=" $(dpkg-query -W -f '${Package}:${db:Status-Status} ' "$@" 2>/dev/null || true)"
  for package in "$@"; do
    if [[ "$installed" != *" $package:installed "* ]]; then
      missing+=("$package")
    fi
  done
  if ((${#missing[@]} == 0)); then
    return
  fi
  local as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "Run this as root, or install sudo: Debian packages are missing: ${missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  step "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
             apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
  # One unreachable source need not matter: installing tells.
  "${apt[@]}" update </dev/null || true
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null
}
