#!/usr/bin/env bash
# Installs what the TypeScript client is built with, and builds it, in a copy:
# prepare.sh SOURCE FOLDER. Does nothing when nothing has changed.

set -euo pipefail
source="$(realpath "$1")"
mkdir -p "$2"
folder="$(realpath "$2")"
package="$source/client_stubs/typescript"

digest() { # of all files of these names and folders
  find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
}

cd "$package"
versions="$(node --version) $(protoc --version)"
inputs=(.npmrc README.md package.json package-lock.json tsconfig.json scripts examples)
wanted="$versions $(digest .npmrc package.json package-lock.json)"
built="$wanted $(digest "${inputs[@]}" src/*.ts "$source/protos/socketbroker" "$source/protos/google")"
if [[ -f "$folder/built" && "$(cat "$folder/built")" == "$built" ]]; then
  exit
fi
rm -rf "$folder"/{built,dist,examples,protos,scripts,src}
mkdir "$folder/src"
cp -r "${inputs[@]}" "$folder"
cp src/*.ts "$folder/src"
cp -r "$source/protos" "$folder"
cd "$folder"
if [[ ! -f installed || "$(cat installed)" != "$wanted" ]]; then
  rm -f installed
  npm ci
  echo "$wanted" >installed
fi
npm run build
echo "$built" >built
