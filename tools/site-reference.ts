/** One key of the site file, for people. */
export interface SiteKey {
  readonly name: string;
  /** What it takes: `host:port`, `replace, prepend`. */
  readonly takes: string;
  /** YAML of what holds where it is not written; in parentheses where that is no value. */
  readonly otherwise: string;
  readonly means: string;
  /** YAML of a value that the reader takes. */
  readonly example: string;
}

/** A mapping of the site file. */
export interface SiteSection {
  /** `link.windows[]`; empty for the file itself. */
  readonly path: string;
  readonly about: string;
  /** YAML of what must be there beside any other key. */
  readonly needs: Readonly<Record<string, string>>;
  readonly keys: readonly SiteKey[];
}

function key(
  name: string,
  takes: string,
  otherwise: string,
  example: string,
  means: string,
): SiteKey {
  return { name, takes, otherwise, example, means };
}

const PATH = "a path";
function passwordFile(otherwise: string): SiteKey {
  return key(
    "passwordFile",
    PATH,
    otherwise,
    "password",
    "A file whose first line is the password.",
  );
}

/** How a server is trusted that is asked with a credential. */
function trustKeys(caFileOtherwise: string): readonly SiteKey[] {
  return [
    key(
      "caFile",
      PATH,
      caFileOtherwise,
      "ca.pem",
      "PEM certificates that the registry's may be signed by.",
    ),
    key(
      "insecure",
      "`true`, `false`",
      "false",
      "true",
      "https without verification, then plain http.",
    ),
  ];
}

const NODES = [
  key("username", "a text", "(needed)", "nodes", "The user."),
  passwordFile("(needed)"),
];
const TLS = [
  key("certFile", PATH, "(needed)", "server.pem", "PEM, the server's certificate first."),
  key("keyFile", PATH, "(needed)", "server.key", "PEM. Both are read again when they change."),
];
const WINDOW_KEYS = [
  key(
    "days",
    "`mon` to `sun`, ranges, `daily`",
    "daily",
    "[mon-fri, sun]",
    "The days on which it begins. A range may go over the end of the week: `fri-mon`.",
  ),
  key("from", "`HH:MM`", '"00:00"', '"22:00"', "When it begins."),
  key(
    "to",
    "`HH:MM`",
    '"24:00"',
    '"06:00"',
    "When it ends; on the next day when it is not after `from`.",
  ),
];

/** Every mapping of the site file with every key. The tests compare it with what the reader takes. */
export const SITE_SECTIONS: readonly SiteSection[] = [
  {
    path: "",
    about: "",
    needs: {},
    keys: [
      key(
        "apiVersion",
        "`drayage/v1`",
        "drayage/v1",
        "drayage/v1",
        "The version of this file's form.",
      ),
      key("kind", "`Site`", "Site", "Site", "What this file is."),
      key(
        "profiles",
        "a list of paths and `oci://` addresses",
        "[]",
        "[profile.yaml]",
        "The cluster's profiles: files, folders of them, or artifacts that `dray publish` made. `--profile` wins.",
      ),
      key(
        "userData",
        PATH,
        "(none)",
        "user-data.yaml",
        "The host's `#cloud-config`. `--user-data` wins.",
      ),
      key("dataDir", PATH, "/var/lib/drayage", "/data/drayage", "The store. `--data-dir` wins."),
      key(
        "platform",
        "os/architecture[/variant]",
        "(this machine's)",
        "linux/arm64",
        "Which image of an index is brought.",
      ),
      key(
        "rewrite",
        "`replace`, `prepend`",
        "replace",
        "prepend",
        "How names look in the external registry: all before the last path segment is replaced, or the registry stands before the whole name.",
      ),
      key(
        "combinations",
        "`strict`, `extended`",
        "strict",
        "extended",
        "`extended` lifts the table of what can be used together.",
      ),
      key(
        "credentials",
        "a list",
        "[]",
        "[{registry: registry.example.com}]",
        "Credentials, below.",
      ),
      key(
        "extraImages",
        "a list of references",
        "[]",
        "[quay.io/team/app:1.2.3]",
        "Application images that no pack declares.",
      ),
      key(
        "attachments",
        "`true`, `false`",
        "true",
        "false",
        "Whether signatures and what else belongs to images comes along.",
      ),
      key(
        "localRegistry",
        "a mapping",
        "(what the packs declare)",
        "{kind: none}",
        "Where application images are also uploaded, below.",
      ),
      key(
        "provider",
        "a mapping",
        "(below)",
        "{}",
        "What is done with the provider image, below and in [provider-image.md](provider-image.md).",
      ),
      key("registry", "a mapping", "(below)", "{}", "The embedded registry, below."),
      key(
        "agent",
        "a mapping",
        "(below)",
        "{}",
        "How `dray agent` works and whom it lets in, below.",
      ),
      key(
        "runtime",
        "a mapping",
        "(below)",
        "{}",
        "Where containers are run, below and in [runtime.md](runtime.md).",
      ),
      key("link", "a mapping", "{}", "{}", "The uplink's budget, below."),
      key(
        "dockerConfig",
        "`true`, `false`, a path",
        "false",
        "true",
        "Whether Docker's configuration file may give credentials, or which file.",
      ),
      key(
        "trustedTokenHosts",
        "a list of hosts",
        "[]",
        "[auth.example.com]",
        "Token services on another host than the registry's that may get its credential.",
      ),
    ],
  },
  {
    path: "credentials[]",
    about: "By host and whole path segments; the longest match wins.",
    needs: { registry: "registry.example.com" },
    keys: [
      key(
        "registry",
        "host, host:port or host/path",
        "(needed)",
        "registry.example.com:5000/team",
        "What it is for.",
      ),
      key("username", "a text", "(none)", "edge", "The user."),
      passwordFile("(none)"),
      ...trustKeys("(none)"),
    ],
  },
  {
    path: "localRegistry",
    about:
      "The packs harbor-edge-native-config, registry-connect, harbor and zot turn it on; each key here overrides theirs. For Harbor: [harbor.md](harbor.md).",
    needs: {},
    keys: [
      key(
        "kind",
        "`none`, `embedded`, `harbor`, `oci`",
        "(of the packs, else none)",
        "none",
        "`none` switches it off; `embedded` is the embedded registry, and moves no byte.",
      ),
      key(
        "address",
        "host:port",
        "(127.0.0.1 and the pack's port, with a warning)",
        "10.0.0.5:30003",
        "What nodes dial.",
      ),
      key(
        "project",
        "a path",
        "(the pack's, else spectro-images)",
        "edge",
        "Stands before every uploaded name.",
      ),
      key("username", "a text", "(the pack's)", "admin", "Who uploads."),
      passwordFile("(the pack's)"),
      ...trustKeys("(the pack's)"),
      key(
        "visibility",
        "`private`, `public`",
        "private",
        "public",
        "Of a Harbor project that has to be made.",
      ),
      key(
        "indexes",
        "`one-platform`, `complete`",
        "one-platform",
        "complete",
        "Where the registry refuses an index with absent platforms: put the one under the name, or fetch the others too.",
      ),
      key("wait", "a time", "10m", "90s", "How long a delivery waits for it to come up."),
      key(
        "rotateDays",
        "1 to 3650",
        "30",
        "7",
        "The age in days from which secrets of robot accounts are made anew.",
      ),
      key(
        "nodes",
        "a mapping",
        "(a robot account, at a Harbor)",
        "{username: nodes, passwordFile: password}",
        "What the cluster's nodes pull with.",
      ),
    ],
  },
  {
    path: "localRegistry.nodes",
    about: "",
    needs: { username: "nodes", passwordFile: "password" },
    keys: NODES,
  },
  {
    path: "provider",
    about: "",
    needs: {},
    keys: [
      key("coreImages", "a mapping", "(below)", "{}", "The images inside of the provider image."),
      key(
        "handOver",
        "a mapping",
        "(below)",
        "{}",
        "How the operating system gets the provider image.",
      ),
    ],
  },
  {
    path: "provider.coreImages",
    about: "",
    needs: {},
    keys: [
      key("enabled", "`true`, `false`", "true", "false", "Whether they are looked for."),
      key(
        "folders",
        "a list of paths inside the image",
        "(those of k3s, RKE2 and Kairos)",
        "[/opt/images]",
        "Where; `*` stands for a part of a name.",
      ),
    ],
  },
  {
    path: "provider.handOver",
    about: "",
    needs: { form: "rootfs", path: "/srv/os-root" },
    keys: [
      key(
        "form",
        "`none`, `oci`, `oci-archive`, `rootfs`, `reference`",
        "none",
        "oci-archive",
        "In what form it is made; `none` hands nothing over.",
      ),
      key(
        "path",
        PATH,
        "(needed but for none and reference)",
        "/srv/os",
        "Where it is made; a place of its own.",
      ),
      key(
        "command",
        "a list of words",
        "[]",
        '[kairos-agent, upgrade, --source, "{source}"]',
        "What is run with it, without a shell. Placeholders: `{source}`, `{path}`, `{reference}`, `{image}`, `{digest}`.",
      ),
      key(
        "timeout",
        "a time",
        "1h",
        "30m",
        "How long the command may run; `0`: as long as it likes.",
      ),
    ],
  },
  {
    path: "registry",
    about: "What serves the store, alone (`dray registry serve`) or in the agent.",
    needs: { htpasswd: "users" },
    keys: [
      key(
        "listen",
        "host:port",
        "127.0.0.1:5055",
        '"0.0.0.0:5055"',
        "Where it listens. Off loopback it wants `tls` and `htpasswd`.",
      ),
      key("address", "host:port", "(where it listens)", '"10.0.0.5:5055"', "What nodes dial."),
      key(
        "tls",
        "a mapping",
        "(plain http)",
        "{certFile: server.pem, keyFile: server.key}",
        "Its certificate.",
      ),
      key("caFile", PATH, "(the system's)", "ca.pem", "PEM certificates by which nodes know it."),
      key(
        "htpasswd",
        PATH,
        "(everybody)",
        "users",
        "Who is let in; `htpasswd -Bc FILE USER` makes it.",
      ),
      key("pushers", "a list of users", "(all of them)", "[builder]", "Who may push and delete."),
      key("anonymousPull", "`true`, `false`", "false", "true", "Whether pulls need no login."),
      key(
        "nodes",
        "a mapping",
        "(none)",
        "{username: nodes, passwordFile: password}",
        "What nodes log in with.",
      ),
    ],
  },
  {
    path: "registry.tls",
    about: "",
    needs: { certFile: "server.pem", keyFile: "server.key" },
    keys: TLS,
  },
  {
    path: "registry.nodes",
    about: "",
    needs: { username: "nodes", passwordFile: "password" },
    keys: NODES,
  },
  {
    path: "agent",
    about: "",
    needs: { htpasswd: "users" },
    keys: [
      key(
        "listen",
        "host:port",
        "127.0.0.1:5056",
        '"0.0.0.0:5056"',
        "Where its page and API are. Off loopback they want `tls` and `htpasswd`.",
      ),
      key(
        "tls",
        "a mapping",
        "(plain http)",
        "{certFile: server.pem, keyFile: server.key}",
        "Their certificate.",
      ),
      key("htpasswd", PATH, "(everybody on this machine)", "users", "Who is let in."),
      key(
        "operators",
        "a list of users",
        "(none)",
        "[anna]",
        "Who may act; the others may look. Who may open the agent's socket always may.",
      ),
      key(
        "metricsTokenFile",
        PATH,
        "(none)",
        "token",
        "A file with the token by which `/metrics` is read without a login.",
      ),
      key(
        "activation",
        "`immediate`, `manual`, a mapping",
        "immediate",
        "manual",
        "When what is staged is activated: at once, by `dray activate`, or in windows.",
      ),
      key(
        "poll",
        "a time",
        "5m",
        "15m",
        "How often registries that steer (`oci://` profiles) are asked.",
      ),
      key("resync", "a time", "6h", "12h", "How often tags are resolved anew."),
      key("credentials", "a time", "1h", "30m", "How often credentials are tried."),
      key("prove", "a time", "6h", "1h", "How often it is proven that the site is ready offline."),
      key("verify", "a time", "7d", "30d", "How often a sample of the store is hashed anew."),
      key("collect", "a time", "1d", "7d", "How often what nothing needs is removed."),
    ],
  },
  {
    path: "agent.tls",
    about: "",
    needs: { certFile: "server.pem", keyFile: "server.key" },
    keys: TLS,
  },
  {
    path: "agent.activation",
    about: "",
    needs: { windows: "[{days: [sun]}]" },
    keys: [
      key(
        "windows",
        "a list",
        "(needed)",
        '[{days: [sat], from: "02:00", to: "04:00"}]',
        "When a staged revision may be activated; as `link.windows`, without `rate`.",
      ),
      key(
        "timeZone",
        "a name like `Europe/Berlin`",
        "(this machine's)",
        "Europe/Berlin",
        "In which they are meant.",
      ),
    ],
  },
  {
    path: "runtime",
    about: "",
    needs: {},
    keys: [
      key(
        "kind",
        "`none`, `containerd`, `k3s`, `rke2`",
        "(none)",
        "k3s",
        "What runs containers here. Written out, it also has mirrors set where the user data switches them off.",
      ),
      key(
        "socket",
        PATH,
        "(the kind's own)",
        "/run/k3s/containerd/containerd.sock",
        "Where it takes requests.",
      ),
      key(
        "configDir",
        PATH,
        "(the kind's own)",
        "/etc/containerd/certs.d",
        "Where it looks for mirrors.",
      ),
    ],
  },
  {
    path: "link",
    about: "",
    needs: {},
    keys: [
      key("rate", "a rate", "(no cap)", "20Mbit", "For all transfers together, per second."),
      key(
        "windows",
        "a list",
        "(always open)",
        '[{from: "22:00", to: "06:00"}]',
        "When the link may be used; outside of all of them nothing runs.",
      ),
      key(
        "timeZone",
        "a name like `Europe/Berlin`",
        "(this machine's)",
        "Europe/Berlin",
        "In which windows and the quota are meant.",
      ),
      key("quota", "a mapping", "(none)", "{bytes: 50GB}", "What may cross the link in a month."),
      key(
        "fetcher",
        "host:port, a mapping",
        "(this host fetches)",
        '"10.0.0.5:5055"',
        "The host of the cluster that fetches for the others; this one takes from its embedded registry.",
      ),
    ],
  },
  {
    path: "link.windows[]",
    about:
      "They follow the clock on the wall. Windows may overlap where their rates are the same. Transfers pause in the middle of a blob and go on from there.",
    needs: {},
    keys: [
      ...WINDOW_KEYS,
      key(
        "rate",
        "a rate",
        "(that of the link)",
        "1Mbit",
        "Of this window; never more than `link.rate`.",
      ),
    ],
  },
  {
    path: "link.quota",
    about:
      "Counted are the bytes of manifests and blobs as they arrive, in `ledger.json` of `dataDir`.",
    needs: { bytes: "50GB" },
    keys: [
      key("bytes", "a size", "(needed)", "500MiB", "What may cross the link."),
      key("period", "`month`", "month", "month", "After which time it renews."),
      key(
        "resetDay",
        "1 to 31",
        "1",
        "15",
        "On which day, at midnight; in a shorter month on its last one.",
      ),
    ],
  },
  {
    path: "link.fetcher",
    about: "",
    needs: { address: '"10.0.0.5:5055"' },
    keys: [
      key(
        "address",
        "host:port[/project]",
        "(needed)",
        '"10.0.0.5:5055"',
        "The embedded registry of the host that fetches.",
      ),
      key("username", "a text", "(none)", "edge", "The user there."),
      key("passwordFile", PATH, "(none)", "password", "A file whose first line is the password."),
      key("caFile", PATH, "(none)", "ca.pem", "PEM certificates that its own may be signed by."),
      key(
        "insecure",
        "`true`, `false`",
        "false",
        "true",
        "https without verification, then plain http.",
      ),
      key(
        "fallback",
        "a time",
        "(never)",
        "2h",
        "After how long without anything new from there this host uses the uplink itself.",
      ),
    ],
  },
];
