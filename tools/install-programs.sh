#!/usr/bin/env bash
# Brings the foreign programs that the real suites run against: Debian's packages, and clients and
# registries that are built from their Go modules. What is there already is left alone; what can't be
# had is told on stderr, and its tests are left out.
#
# Prints the folders of what was built, as PATH wants them. With --heavy also what takes many minutes
# to build.
# Usage: tools/install-programs.sh [--heavy]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

readonly CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/drayage-tools

readonly PACKAGES=(
  docker-registry skopeo apache2-utils openssl strace
  containerd runc containernetworking-plugins
  umoci debootstrap attr libcap2-bin libarchive-tools python3 gcc libc6-dev
  chromium
  zsh fish
  shellcheck busybox qemu-user-static libc6-arm64-cross libstdc++6-arm64-cross
)

folders=()

say() { printf '%s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# retry COMMAND…: mirrors of packages are out of step now and then.
retry() {
  local attempt
  for attempt in 1 2 3; do
    if "$@"; then return 0; fi
    say "Attempt $attempt failed: $*"
    sleep $((attempt * 5))
  done
  return 1
}

install_packages() {
  local missing=() package
  for package in "${PACKAGES[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      missing+=("$package")
  done
  if [ "${#missing[@]}" -eq 0 ]; then return 0; fi
  say "Installing ${missing[*]}"
  retry as_root apt-get update -qq >&2 || return 1
  if retry apt_install "${missing[@]}"; then return 0; fi
  # apt installs all of them or none: one that this release does not have must not cost the others.
  local status=1
  for package in "${missing[@]}"; do
    if apt_install "$package"; then status=0; else say "$package could not be installed"; fi
  done
  return "$status"
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >&2
}

# install_prometheus: out of Debian's package, which is not installed: it would start a service.
install_prometheus() {
  local bin=$CACHE/prometheus
  if [ ! -x "$bin/prometheus" ]; then
    local folder
    folder=$(mktemp -d)
    if (cd "$folder" && retry apt-get download -qq prometheus >&2 && dpkg-deb -x prometheus_*.deb .); then
      mkdir -p "$bin"
      mv "$folder/usr/bin/promtool" "$folder/usr/bin/prometheus" "$bin/"
    else
      say "Prometheus could not be had: its tests are left out"
    fi
    rm -rf "$folder"
  fi
  if [ -x "$bin/prometheus" ]; then folders+=("$bin"); fi
}

# install_client NAME VERSION PACKAGE: a program that is built from its Go module.
install_client() {
  local name=$1 version=$2 package=$3
  local bin=$CACHE/$name-$version
  if [ ! -x "$bin/$name" ]; then
    if ! command -v go >/dev/null; then
      say "Go is not installed, so $name is not either: its tests are left out"
      return 0
    fi
    say "Installing $name $version"
    if ! GOBIN=$bin GOFLAGS='' go install "$package@$version" >&2; then
      say "$name could not be built: its tests are left out"
      return 0
    fi
  fi
  folders+=("$bin")
}

# cached NAME VERSION: a program of an earlier --heavy.
cached() {
  if [ -x "$CACHE/$1-$2/$1" ]; then folders+=("$CACHE/$1-$2"); fi
}

install_heavy() {
  # 3 min 30 s and 7 min on two busy cores.
  install_client helm "$HELM" helm.sh/helm/v3/cmd/helm
  install_client cosign "$COSIGN" github.com/sigstore/cosign/v2/cmd/cosign
  if command -v go >/dev/null; then
    # Is not for the PATH: the tests start it beside the machine's own.
    tools/install-containerd.sh "$CACHE/containerd-v2.1.4" ||
      say "containerd 2 could not be built: its tests are left out"
    tools/install-conformance.sh "$CACHE/oci-conformance" >&2 ||
      say "A conformance suite could not be built: it is left out"
  fi
}

readonly HELM=v3.19.5 COSIGN=v2.4.3

# Without the packages the real suites fail by themselves, and say what is missing.
install_packages || say "The packages could not be installed"
install_prometheus
install_client crane v0.22.1 github.com/google/go-containerregistry/cmd/crane
install_client regctl v0.11.7 github.com/regclient/regclient/cmd/regctl
install_client oras v1.3.6 oras.land/oras/cmd/oras
# Distribution 3, whose program is called `registry`: 1 min 42 s on two busy cores.
install_client registry v3.1.2 github.com/distribution/distribution/v3/cmd/registry
case ${1:-} in
  --heavy) install_heavy ;;
  *)
    cached helm "$HELM"
    cached cosign "$COSIGN"
    ;;
esac

IFS=:
printf '%s\n' "${folders[*]}"
