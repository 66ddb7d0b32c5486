#!/usr/bin/env bash
# Makes the package socketbrokerv1 from the protos: generate.sh [FOLDER]. Needs
# protoc (Debian: protobuf-compiler) and Go. The plugins are built into
# FOLDER/bin; unset: <repository>/build/clients. Does nothing when nothing has
# changed.

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
protos="$here/../../protos"
out="$here/socketbrokerv1"
folder="${1:-$here/../../build/clients}"
mkdir -p "$folder/bin"
folder="$(cd "$folder" && pwd)"
module=socketbroker.dev/go
grpc_plugin_version=1.3.0
export GOTOOLCHAIN=local GOWORK=off

cd "$here"
files=("$protos"/socketbroker/v1/*.proto)
made="$(cat "${files[@]}" generate.sh go.mod | sha256sum) $(protoc --version)"
if [[ -f "$folder/go-generated" && "$(cat "$folder/go-generated")" == "$made" ]] &&
    [[ $(ls "$out"/*.pb.go 2>/dev/null | wc -l) -gt ${#files[@]} ]]; then
  exit
fi

# The one in the version of the module's runtime, the other has a version of its own.
GOBIN="$folder/bin" go install google.golang.org/protobuf/cmd/protoc-gen-go
if [[ "$("$folder/bin/protoc-gen-go-grpc" --version 2>/dev/null)" != *" $grpc_plugin_version" ]]; then
  GOBIN="$folder/bin" go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v$grpc_plugin_version"
fi

options=()
for file in "${files[@]}"; do
  mapped="M${file#"$protos"/}=$module/socketbrokerv1"
  options+=("--go_opt=$mapped" "--go-grpc_opt=$mapped")
done
fresh="$(mktemp -d "$folder/go-fresh.XXXXXX")"
trap 'rm -rf "$fresh"' EXIT
PATH="$folder/bin:$PATH" protoc -I "$protos" "${options[@]}" \
  --go_out="$fresh" --go_opt="module=$module" \
  --go-grpc_out="$fresh" --go-grpc_opt="module=$module" "${files[@]}"
rm -f "$out"/*.pb.go
mv "$fresh"/socketbrokerv1/*.pb.go "$out"
echo "$made" >"$folder/go-generated"
