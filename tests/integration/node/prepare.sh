#!/usr/bin/env bash
# Installs what the tests with Node.js need: prepare.sh FOLDER. Does nothing when
# it is there already.

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="$1"
wanted="$(cat "$here"/package*.json "$here/.npmrc" | sha256sum) $(node --version)"
if [[ -f "$folder/installed" && "$(cat "$folder/installed")" == "$wanted" ]]; then
  exit
fi
rm -rf "$folder"
mkdir -p "$folder"
cp "$here"/package*.json "$here/.npmrc" "$folder"
(cd "$folder" && npm ci)
echo "$wanted" >"$folder/installed"
