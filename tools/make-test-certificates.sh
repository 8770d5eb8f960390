#!/bin/sh
# Makes the certificates that tests of TLS use: test/fixtures/tls. They are committed, so that tests
# need no openssl; run this again only to change what they say. Valid for 100 years, except the one
# that is expired on purpose. The keys protect nothing.
#
#   ca.pem                          the authority that tests trust
#   server.pem, server.key          localhost, 127.0.0.1, ::1, registry.test; by the authority
#   expired.pem, expired.key        the same names, by the authority, over since 2001
#   stranger.pem, stranger.key      the same names, by an authority that nobody trusts
#   client.pem, client.key          a client, by the authority
set -eu
target=$(cd -- "$(dirname -- "$0")/.." && pwd)/test/fixtures/tls
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$target"
cd "$work"

from=20000101000000Z
until=21000101000000Z

# new_key NAME: ECDSA P-256, which every client takes and which is made at once.
new_key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
}

# new_authority NAME COMMON-NAME: a self-signed authority.
new_authority() {
  new_key "$1"
  : >"$1.index"
  openssl req -new -key "$1.key" -subj "/O=Drayage tests/CN=$2" -out "$1.csr"
  cat >"$1.ext" <<EXT
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
EXT
  sign "$1" "$1" "$from" "$until" -selfsign
}

# sign NAME AUTHORITY FROM UNTIL [-selfsign]: signs NAME.csr with NAME.ext.
sign() {
  cat >"$2.cnf" <<CNF
[ca]
default_ca = authority
[authority]
database = $work/$2.index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = anything
unique_subject = no
[anything]
organizationName = optional
commonName = supplied
CNF
  signer="-cert $2.pem"
  [ "${5:-}" = "-selfsign" ] && signer=-selfsign
  # shellcheck disable=SC2086 # two words on purpose
  openssl ca -batch -notext -config "$2.cnf" -keyfile "$2.key" $signer -extfile "$1.ext" \
    -startdate "$3" -enddate "$4" -in "$1.csr" -out "$1.pem" 2>"$1.log" || {
    cat "$1.log" >&2
    exit 1
  }
}

# new_leaf NAME AUTHORITY FROM UNTIL USAGE
new_leaf() {
  new_key "$1"
  openssl req -new -key "$1.key" -subj "/O=Drayage tests/CN=$1.test" -out "$1.csr"
  cat >"$1.ext" <<EXT
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = $5
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1, DNS:registry.test
authorityKeyIdentifier = keyid
EXT
  sign "$@"
}

new_authority ca "Drayage test authority"
new_authority other "An authority that nobody trusts"
new_leaf server ca "$from" "$until" serverAuth
new_leaf expired ca 20000101000000Z 20010101000000Z serverAuth
new_leaf stranger other "$from" "$until" serverAuth
new_leaf client ca "$from" "$until" clientAuth

cp ca.pem server.pem server.key expired.pem expired.key stranger.pem stranger.key client.pem client.key "$target"
chmod 644 "$target"/*
