#!/bin/sh
# Builds containerd 2 from its Go module into the folder that is named, for tests beside the machine's own.
# `go install` refuses it: its go.mod has exclude directives. Some minutes on two busy cores.
#
# tools/install-containerd.sh ~/.cache/drayage-tools/containerd-v2.1.4
set -eu
version=v2.1.4
target=$1
if [ -x "$target/containerd" ]; then exit 0; fi
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
module=github.com/containerd/containerd/v2
cd "$work"
go mod init drayage.invalid/containerd >&2
source=$(go mod download -json "$module@$version" | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')
cp -r "$source" source
chmod -R u+w source
cd source
# The module comes with the list of its vendored modules, and without them.
rm -rf vendor
mkdir -p "$work/bin"
for program in containerd containerd-shim-runc-v2 ctr; do
  GOFLAGS=-mod=mod go build -tags no_btrfs,no_zfs,no_devmapper,no_aufs \
    -ldflags "-X $module/version.Version=${version#v}" -o "$work/bin/$program" "./cmd/$program" >&2
done
# The one that is looked for comes last.
mkdir -p "$target"
mv "$work/bin/containerd-shim-runc-v2" "$work/bin/ctr" "$target/"
mv "$work/bin/containerd" "$target/"
