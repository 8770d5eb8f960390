#!/bin/sh
# Puts dray, its systemd unit and an example of its site file in place, or takes them away again.
#
# It needs no network: what it installs lies beside it, with SHA256SUMS.
set -eu
umask 022

usage() {
  cat <<'USAGE'
Usage: install.sh [--prefix DIR] [--root DIR] [--from DIR] [--executable NAME]
       install.sh --uninstall [--purge] [--prefix DIR] [--root DIR]

Installs DIR/bin/dray, /etc/systemd/system/drayage.service and /etc/drayage.
A file that somebody edited is never overwritten: what is new lies beside it as FILE.new.

  --prefix DIR       where bin/dray goes (default /usr/local)
  --root DIR         the root of another system, such as an image that is being made
  --from DIR         where the released files are (default: beside this script)
  --executable NAME  which of them (default: what fits this machine)
  --uninstall        takes away what was installed; configuration and data stay
  --purge            with --uninstall: takes those away too
  -h, --help         prints this

Exit codes: 0 done, 1 it failed, 2 wrong usage.
USAGE
}

say() { printf '%s\n' "$*"; }

# fail WHAT HINT
fail() {
  printf 'error: %s\n' "$1" >&2
  printf '  hint: %s\n' "$2" >&2
  exit 1
}

refuse() {
  printf 'error: %s\n' "$1" >&2
  printf '  hint: install.sh --help lists the options\n' >&2
  exit 2
}

prefix=/usr/local
root=
from=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
executable=
action=install
purge=no

while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --root | --from | --executable)
      if [ $# -lt 2 ] || [ -z "$2" ]; then refuse "$1 has no value"; fi
      case $1 in
        --prefix) prefix=$2 ;;
        --root) root=$2 ;;
        --from) from=$2 ;;
        --executable) executable=$2 ;;
      esac
      shift
      ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) refuse "Unknown word $1" ;;
  esac
  shift
done
[ "$purge" = no ] || [ "$action" = uninstall ] || refuse "--purge goes with --uninstall"
case $prefix in
  *[!A-Za-z0-9._/-]*) refuse "--prefix is $prefix, expected letters, digits, . _ - and /" ;;
  /*) ;;
  *) refuse "--prefix is $prefix, expected an absolute path" ;;
esac
prefix=${prefix%/}
root=${root%/}
[ -z "$root" ] || [ -d "$root" ] || fail "Cannot install into $root: it is no folder" "Make it first"

binary=$prefix/bin/dray
unit=/etc/systemd/system/drayage.service
config=/etc/drayage
site=$config/site.yaml
example=$config/site.example.yaml
licences=$prefix/share/drayage/LICENSES.txt
data=/var/lib/drayage
# What was installed: lines of `file SHA256 PATH` and `folder PATH`, below the root.
record=$prefix/share/drayage/installed

staged=
# Folders that this run made, and that no record knows of yet.
made=
cleanup() {
  [ -z "$staged" ] || rm -rf -- "$staged"
  printf '%s' "$made" | sort -r | while read -r _ path; do
    rmdir -- "$root$path" 2>/dev/null || :
  done
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

hash_of() {
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum <"$1" | cut -d ' ' -f 1
  elif command -v shasum >/dev/null 2>&1; then
    shasum -a 256 <"$1" | cut -d ' ' -f 1
  elif command -v openssl >/dev/null 2>&1; then
    openssl dgst -sha256 <"$1" | sed 's/^.*[ =]//'
  else
    fail "Cannot compare digests: there is no sha256sum, shasum or openssl" "Install one of them"
  fi
}

# is_recorded PATH: whether this script put something there.
is_recorded() {
  [ -f "$root$record" ] && awk -v path="$1" '$1 == "file" && $3 == path { found = 1 } END { exit !found }' "$root$record"
}

# systemd_runs: whether this machine's systemd is the one that the unit is for.
systemd_runs() {
  [ -z "$root" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1
}

# has_systemd: whether the system at the root uses systemd at all.
has_systemd() {
  [ -d "$root/run/systemd/system" ] || [ -x "$root/lib/systemd/systemd" ] || [ -x "$root/usr/bin/systemctl" ]
}

choose_executable() {
  case $(uname -m) in
    x86_64 | amd64) machine=x64 ;;
    aarch64 | arm64) machine=arm64 ;;
    *) fail "Cannot install for $(uname -m): there are executables for x86_64 and aarch64" "Name one with --executable" ;;
  esac
  # musl has its loader there; a glibc beside it, as on Alpine with gcompat, is not what runs.
  for loader in "$root"/lib/ld-musl-*.so.1; do
    if [ -e "$loader" ] && [ ! -e "$root/lib64/ld-linux-x86-64.so.2" ] && [ ! -e "$root/lib/ld-linux-aarch64.so.1" ]; then
      machine=$machine-musl
      break
    fi
  done
  executable=dray-linux-$machine
}

# stage NAME: copies a released file to where it is on the disk it will stay on, and compares it.
stage() {
  [ -f "$from/$1" ] || fail "Cannot install: $from has no $1" "Unpack the whole release, or name its folder with --from"
  expected=$(awk -v name="$1" '$2 == name || $2 == "*" name { print $1 }' "$from/SHA256SUMS")
  [ -n "$expected" ] || fail "Cannot install $1: SHA256SUMS does not name it" "Get the release again"
  cp -- "$from/$1" "$staged/$1" || fail "Cannot copy $1 to $root$prefix" "Make room there, or look at the message above"
  found=$(hash_of "$staged/$1")
  [ "$found" = "$expected" ] ||
    fail "Cannot install $1: its SHA-256 is $found, expected $expected" "It is damaged or not of this release: get it again"
}

# make_folder PATH: with what is missing above it; new ones are recorded, to be taken away again.
make_folder() {
  [ ! -d "$root$1" ] || return 0
  make_folder "$(dirname -- "$1")"
  mkdir -- "$root$1" || fail "Cannot make $root$1" "Run this as root, or choose another --prefix"
  made="${made}folder $1
"
}

# promise NAME PATH: that PATH will be ours, recorded before it is, so that an install that was cut
# off can be done again or undone.
promise() {
  [ ! -d "$root$2" ] || fail "Cannot install $2: a folder is there, expected a file or nothing" "Move it away"
  if [ "$2" = "$binary" ] && [ -e "$root$2" ] && ! is_recorded "$2"; then
    [ "$(hash_of "$root$2")" = "$(hash_of "$staged/$1")" ] ||
      fail "Cannot install $2: something is there that was not installed by this script" "Move it away, or choose another --prefix"
  fi
  printf 'file %s %s\n' "$(hash_of "$staged/$1")" "$2" >>"$staged/promised"
}

# place NAME PATH MODE: moves a staged file to its place; one that somebody edited stays, with ours as PATH.new.
place() {
  ours=$(hash_of "$staged/$1")
  chmod "$3" "$staged/$1"
  if [ "$2" != "$binary" ] && { [ -L "$root$2" ] || [ -e "$root$2" ]; }; then
    there=
    [ ! -f "$root$2" ] || there=$(hash_of "$root$2")
    if [ "$there" != "$ours" ] && ! is_ours_before "$2" "$there"; then
      mv -f -- "$staged/$1" "$root$2.new"
      printf 'file %s %s\n' "$ours" "$2.new" >>"$staged/record"
      say "kept       $2, which was edited; the new one is $2.new"
      return 0
    fi
  fi
  mv -f -- "$staged/$1" "$root$2" || fail "Cannot write $root$2" "Run this as root, or look at the message above"
  printf 'file %s %s\n' "$ours" "$2" >>"$staged/record"
  say "installed  $2"
}

# is_ours_before PATH SHA256: whether it was, before this run promised anything.
is_ours_before() {
  [ -f "$staged/before" ] && grep -qxF "file $2 $1" "$staged/before"
}

# place_once NAME PATH MODE: only where nothing is; it is a person's from then on, and not recorded.
place_once() {
  if [ -L "$root$2" ] || [ -e "$root$2" ]; then
    say "kept       $2"
    rm -f -- "$staged/$1"
    return 0
  fi
  chmod "$3" "$staged/$1"
  mv -- "$staged/$1" "$root$2"
  say "installed  $2, to be edited"
}

install_all() {
  [ -n "$executable" ] || choose_executable
  systemd=no
  if has_systemd; then systemd=yes; fi
  [ -f "$from/SHA256SUMS" ] || fail "Cannot install: $from has no SHA256SUMS" "Unpack the whole release, or name its folder with --from"
  make_folder "$prefix/bin"
  remove_leftovers
  # On the file system of the prefix, so that a rename puts the executable in place.
  staged=$(mktemp -d "$root$prefix/.drayage-install.XXXXXX") || fail "Cannot write to $root$prefix" "Run this as root, or choose another --prefix"
  stage "$executable"
  stage LICENSES.txt
  stage site.example.yaml
  stage drayage.service
  # The unit names the place where the executable is by default.
  sed "s|/usr/local/bin/dray|$binary|g" "$staged/drayage.service" >"$staged/unit"
  cp -- "$staged/site.example.yaml" "$staged/site.yaml"

  [ ! -f "$root$record" ] || cp -- "$root$record" "$staged/before"
  : >"$staged/promised"
  promise "$executable" "$binary"
  promise LICENSES.txt "$licences"
  promise site.example.yaml "$example"
  [ "$systemd" = no ] || promise unit "$unit"
  make_folder "$prefix/share/drayage"
  make_folder "$config"
  [ "$systemd" = no ] || make_folder "$(dirname -- "$unit")"
  printf '%s' "$made" >"$staged/folders"
  [ ! -f "$staged/before" ] || grep '^folder ' "$staged/before" >>"$staged/folders" || :
  { [ ! -f "$staged/before" ] || cat "$staged/before"; cat "$staged/promised" "$staged/folders"; } >"$staged/intent"
  make_durable
  mv -f -- "$staged/intent" "$root$record"
  made=

  cp -- "$staged/folders" "$staged/record"
  place "$executable" "$binary" 755
  place LICENSES.txt "$licences" 644
  place site.example.yaml "$example" 644
  place_once site.yaml "$site" 644
  [ "$systemd" = no ] || place unit "$unit" 644
  mv -f -- "$staged/record" "$root$record"
  make_durable
  tell_next
}

# make_durable: before and after names change, for a power cut; who makes an image does it at the end.
make_durable() {
  [ -n "$root" ] || sync
}

# remove_leftovers: what an install that was killed had staged.
remove_leftovers() {
  for leftover in "$root$prefix"/.drayage-install.*; do
    [ ! -d "$leftover" ] || rm -rf -- "$leftover"
  done
}

tell_next() {
  [ -n "$root" ] || "$binary" --version >/dev/null || fail "Cannot run $binary: it was installed, but does not start here" "Try --executable with another one of $from"
  say ""
  say "Next: write $site, and try it:  $binary plan --site $site"
  if systemd_runs; then
    systemctl daemon-reload
    if systemctl --quiet is-active drayage; then
      say "The agent runs on with the version before:  systemctl restart drayage"
    else
      say "Then start the agent:               systemctl enable --now drayage"
    fi
  elif [ -z "$root" ]; then
    say "There is no systemd here, so no unit was started. Let whatever starts services here run:"
    say "  $binary agent --site $site"
  fi
}

uninstall_all() {
  [ -f "$root$record" ] || fail "Cannot uninstall: $root$record is not there, so nothing was installed with --prefix $prefix" "Name the prefix that it was installed with"
  # After an upgrade that found it edited, only the new one beside it is recorded.
  if systemd_runs && { is_recorded "$unit" || is_recorded "$unit.new"; }; then
    systemctl --quiet disable --now drayage 2>/dev/null || :
  fi
  remove_leftovers
  # The record is read while what it names goes away, so from memory.
  files=$(awk '$1 == "file" { print $2 " " $3 }' "$root$record" | sort -u)
  folders=$(awk '$1 == "folder" { print $2 }' "$root$record" | sort -r)
  printf '%s\n' "$files" | cut -d ' ' -f 2 | sort -u | while read -r path; do
    [ -z "$path" ] || remove_file "$path"
  done
  rm -f -- "$root$record"
  if [ "$purge" = yes ]; then remove_all; fi
  printf '%s\n' "$folders" | while read -r path; do
    [ -z "$path" ] || rmdir -- "$root$path" 2>/dev/null || :
  done
  if systemd_runs; then systemctl daemon-reload; fi
  [ "$purge" = yes ] || say "kept       $config and the data in $data (--purge takes them away too)"
}

# remove_file PATH: unless somebody edited it.
remove_file() {
  [ -f "$root$1" ] || return 0
  if [ "$1" != "$binary" ] && [ "$purge" = no ] &&
    ! printf '%s\n' "$files" | grep -qxF "$(hash_of "$root$1") $1"; then
    say "kept       $1, which was edited"
    return 0
  fi
  rm -f -- "$root$1"
  say "removed    $1"
}

remove_all() {
  elsewhere=$(sed -n "s/^dataDir:[[:space:]]*[\"']\{0,1\}\([^\"'#[:space:]]*\).*/\1/p" "$root$site" 2>/dev/null | tail -n 1)
  if [ -n "$elsewhere" ] && [ "$elsewhere" != "$data" ]; then
    say "kept       $elsewhere, which $site names as dataDir: remove it by hand"
  fi
  if [ -d "$root$config" ]; then
    rm -rf -- "$root$config"
    say "removed    $config"
  fi
  # Only what is a store is removed.
  if [ -f "$root$data/oci-layout" ] || [ -f "$root$data/drayage.db" ]; then
    rm -rf -- "$root$data"
    say "removed    $data"
  elif [ -d "$root$data" ]; then
    rmdir -- "$root$data" 2>/dev/null || say "kept       $data, which holds no store of dray"
  fi
}

if [ "$action" = install ]; then install_all; else uninstall_all; fi
