#!/usr/bin/env bash
# Builds grpcurl from the Go module proxy: prepare.sh FOLDER puts it into
# FOLDER/bin. Does nothing when it is there already. Debian 12's Go 1.19
# builds this version.

set -euo pipefail
folder="$1"
version=v1.8.9
if [[ -x "$folder/bin/grpcurl-$version" ]]; then
  exit
fi
GOPATH="$folder/go" GOCACHE="$folder/go-cache" GOBIN="$folder/go-bin" GOTOOLCHAIN=local GOFLAGS=-modcacherw \
  go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version"
mkdir -p "$folder/bin"
mv "$folder/go-bin/grpcurl" "$folder/bin/grpcurl-$version"
ln -sf "grpcurl-$version" "$folder/bin/grpcurl"
rm -rf "$folder/go" "$folder/go-cache" "$folder/go-bin"
