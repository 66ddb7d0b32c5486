#!/usr/bin/env bash
# Fetches the modules of the Go client and of its tests, makes its code from the
# protos and builds the tests: prepare.sh FOLDER. Everything but that code is put
# into FOLDER, and what is there already is neither fetched nor made again. The
# environment is what CTest sets: see CMakeLists.txt.

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
client="$here/../../../client_stubs/go"
"$client/generate.sh" "$1"
for module in "$client" "$here/../../integration/go"; do
  (cd "$module" && go mod download && go test -race -run '^$' ./...)
done
