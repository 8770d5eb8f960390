#!/usr/bin/env bash
# Builds the conformance suites of the OCI distribution specification: FOLDER/v1.1.1 is the one that
# was tagged with it, FOLDER/main the newer program. What is there already is left alone.
#
# Both come through the Go module proxy. A proxy that does not have them is a failure that is told.
# Usage: tools/install-conformance.sh FOLDER
set -euo pipefail

readonly MODULE=github.com/opencontainers/distribution-spec/conformance
# The commit of the tag v1.1.1: the suite is a module of its own in the repository, without tags.
readonly TAGGED=a139cc423184af6078077b9b7ee336eddbd03f8f
readonly NEWER=a221f940537be67ba24721f094e9504b465989d2

readonly folder=${1:?Usage: tools/install-conformance.sh FOLDER}
mkdir -p "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export GOFLAGS=-mod=mod

# build COMMIT NAME COMMAND…: runs `go COMMAND -o FILE MODULE` in a module that requires the commit.
build() {
  local commit=$1 name=$2
  shift 2
  [ -x "$folder/$name" ] && return 0
  rm -f go.mod go.sum
  go mod init suites &&
    go get -t "$MODULE@$commit" &&
    go "$@" -o "$scratch/$name" "$MODULE" &&
    mv "$scratch/$name" "$folder/$name"
}

status=0
build "$TAGGED" v1.1.1 test -c || status=1
build "$NEWER" main build || status=1
exit "$status"
