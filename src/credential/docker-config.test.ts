import { expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure, type Secret } from "#base";
import {
  type Credential,
  dockerConfigFiles,
  lookupDockerConfig,
  parseDockerConfig,
} from "#credential";
import { parseReference } from "#reference";

const base64 = (text: string) => Buffer.from(text).toString("base64");

/** A credential with its secrets in the open, for comparing. */
function revealed(credential: Credential | undefined): unknown {
  if (credential === undefined) return undefined;
  const reveal = (value: string | Secret) => (typeof value === "string" ? value : value.reveal());
  return Object.fromEntries(
    Object.entries(credential).map(([name, value]) => [name, reveal(value)]),
  );
}

function lookup(config: unknown, reference: string): unknown {
  const parsed = parseDockerConfig(JSON.stringify(config), "config.json");
  return revealed(lookupDockerConfig(parsed, parseReference(reference)));
}

const password = (username: string, text: string) => ({
  kind: "password",
  username,
  password: text,
});

test("an entry's user and password come from `auth`, split at its first colon (C-32)", () => {
  const auths = { "quay.io": { auth: base64("edge:a:b\0\0") } };
  expect(lookup({ auths }, "quay.io/team/app")).toEqual(password("edge", "a:b"));
});

test("an entry's other forms: user and password, identity token, registry token, and nothing (C-32)", () => {
  const auths = {
    "a.io": { username: "edge", password: "pässword" },
    "b.io": { auth: base64("edge:ignored"), identitytoken: "refresh" },
    "c.io": { registrytoken: "bearer" },
    "d.io": {},
    "e.io": { username: "edge" },
  };
  expect(lookup({ auths }, "a.io/x")).toEqual(password("edge", "pässword"));
  expect(lookup({ auths }, "b.io/x")).toEqual({ kind: "identity-token", token: "refresh" });
  expect(lookup({ auths }, "c.io/x")).toEqual({ kind: "registry-token", token: "bearer" });
  expect(lookup({ auths }, "d.io/x")).toBeUndefined();
  expect(lookup({ auths }, "e.io/x")).toBeUndefined();
});

test.each([
  "https://index.docker.io/v1/",
  "docker.io",
  "index.docker.io",
  "registry-1.docker.io",
  "index.docker.io/v1/",
])("%s is Docker Hub (C-33)", (key) => {
  const auths = { [key]: { auth: base64("edge:x") } };
  expect(lookup({ auths }, "busybox")).toEqual(password("edge", "x"));
  expect(lookup({ auths }, "quay.io/busybox")).toBeUndefined();
});

test("of several names for Docker Hub, the one that docker writes counts", () => {
  const auths = {
    "docker.io": { auth: base64("edge:second") },
    "https://index.docker.io/v1/": { auth: base64("edge:first") },
  };
  expect(lookup({ auths }, "busybox")).toEqual(password("edge", "first"));
});

test("old keys with scheme and /v1/ stand for their host; with another path they are none (C-33, C-34)", () => {
  const auths = {
    "https://old.io/v1/": { auth: base64("edge:old") },
    "https://odd.io/team": { auth: base64("edge:odd") },
    "edge@user.io": { auth: base64("edge:user") },
    "tag.io/app:1": { auth: base64("edge:tag") },
  };
  expect(lookup({ auths }, "old.io/x")).toEqual(password("edge", "old"));
  for (const reference of ["odd.io/team/x", "user.io/x", "tag.io/app:1"]) {
    expect(lookup({ auths }, reference)).toBeUndefined();
  }
});

test("the longest path of whole components counts (C-34)", () => {
  const auths = {
    "quay.io": { auth: base64("edge:host") },
    "quay.io/team": { auth: base64("edge:team") },
    "quay.io/team/app": { auth: base64("edge:app") },
  };
  expect(lookup({ auths }, "quay.io/team/app")).toEqual(password("edge", "app"));
  expect(lookup({ auths }, "quay.io/team/application")).toEqual(password("edge", "team"));
  expect(lookup({ auths }, "quay.io/teams/app")).toEqual(password("edge", "host"));
});

test.each([
  "cr.io",
  "ghcr.io.evil.com",
  "victim.127.0.0.1:5000",
  "docker.io.evil.com",
  "127.0.0.1",
  "127.0.0.1:500",
  "x.ghcr.io",
])("%s gets nothing that is for another host (SEC-29)", (host) => {
  const entry = { auth: base64("edge:x") };
  const auths = { "ghcr.io": entry, "127.0.0.1:5000": entry, "index.docker.io": entry };
  expect(lookup({ auths }, `${host}/team/app`)).toBeUndefined();
});

test("a host gets what is its own and no other host ever does (1,000 pairs)", () => {
  const label = fc.stringMatching(/^[a-z0-9]{1,3}$/);
  const host = fc.tuple(label, label).map(([a, b]) => `${a}.${b}`);
  fc.assert(
    fc.property(host, host, (key, asked) => {
      const found = lookup({ auths: { [key]: { auth: base64("edge:x") } } }, `${asked}/app`);
      expect(found !== undefined).toBe(key === asked);
    }),
    { numRuns: 1000 },
  );
});

test("the helper for the host comes before the store, and the store before the entries (C-31)", () => {
  const config = {
    auths: { "a.io": { auth: base64("edge:x") }, "b.io": {} },
    credHelpers: { "a.io": "ecr-login", "docker.io": "hub" },
    credsStore: "pass",
  };
  expect(lookup(config, "a.io/x")).toEqual({ kind: "helper", helper: "ecr-login", server: "a.io" });
  expect(lookup(config, "b.io/x")).toEqual({ kind: "helper", helper: "pass", server: "b.io" });
  expect(lookup(config, "busybox")).toEqual({
    kind: "helper",
    helper: "hub",
    server: "https://index.docker.io/v1/",
  });
  expect(lookup({ ...config, credsStore: "" }, "c.io/x")).toBeUndefined();
});

test.each([
  ["canary", "it is no JSON"],
  ["[]", "no object"],
  ['{"auths":"canary"}', "auths is no object"],
  ['{"auths":{"a.io":"canary"}}', 'auths["a.io"] is no object'],
  ['{"auths":{"a.io":{"auth":"canary!"}}}', 'auths["a.io"].auth cannot be read'],
  [`{"auths":{"a.io":{"auth":"${base64("canary")}"}}}`, 'auths["a.io"].auth cannot be read'],
  ['{"auths":{"a.io":{"password":["canary"]}}}', 'auths["a.io"].password is no text'],
  ['{"credsStore":"../canary"}', "credsStore is no name of a helper"],
  ['{"credHelpers":{"a.io":"x;canary"}}', 'credHelpers["a.io"] is no name of a helper'],
])("%s is refused, with the file's name and without its values (C-30, SEC-26)", (text, why) => {
  try {
    parseDockerConfig(text, "/home/edge/config.json");
    throw new Error("It was not refused");
  } catch (error) {
    if (!isFailure(error, "docker-config-invalid")) throw error;
    expect(error.message).toContain('"/home/edge/config.json"');
    expect(error.message).toContain(why);
    expect(error.message + error.hint + String(error.cause)).not.toContain("canary");
  }
});

test("an empty file's object has no credential for anybody", () => {
  expect(lookup({}, "busybox")).toBeUndefined();
});

test("dockerConfigFiles() gives the places in the order of Docker and containers (C-30)", () => {
  expect(dockerConfigFiles({}, "/home/edge")).toEqual([
    "/home/edge/.docker/config.json",
    "/home/edge/.config/containers/auth.json",
  ]);
  const env = {
    DOCKER_CONFIG: "/d",
    REGISTRY_AUTH_FILE: "/r.json",
    XDG_RUNTIME_DIR: "/run/user/1",
    XDG_CONFIG_HOME: "/c",
  };
  expect(dockerConfigFiles(env, "/home/edge")).toEqual([
    "/d/config.json",
    "/r.json",
    "/run/user/1/containers/auth.json",
    "/c/containers/auth.json",
  ]);
});
