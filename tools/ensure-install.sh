#!/bin/sh
# Brings node_modules up to package-lock.json, and does nothing when it is there already.
#
# Bun is an npm package whose install script puts the executable in place. Where npm is told not to
# run install scripts, the package holds a stub, so the script is run here.
set -eu
cd -- "$(dirname -- "$0")/.."

# npm writes this file at the end of an install that succeeded: the lockfile of what is really there.
installed=node_modules/.package-lock.json
bun=node_modules/.bin/bun
bun_version=$(sed -n 's/^ *"bun": "\([0-9][0-9.]*\)",*$/\1/p' package.json)

bun_is_ready() {
  [ "$("$bun" --version 2>/dev/null)" = "$bun_version" ]
}

if [ ! -f "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  echo "Installing the dependencies of package-lock.json" >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
fi
bun_is_ready || node node_modules/bun/install.js >&2 || true
if ! bun_is_ready; then
  echo "error: Cannot install: Bun is \"$("$bun" --version 2>&1 | head -n 1)\", expected version $bun_version" >&2
  echo "hint:  Remove node_modules and run \`npm ci\`; its package for this machine's processor may be missing" >&2
  exit 1
fi
