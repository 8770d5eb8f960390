import { Failure, printable, systemErrorCode } from "#base";

/** What kept an answer from coming. */
export type NetworkTrouble =
  | "dns"
  | "refused"
  | "timeout"
  | "unreachable"
  | "proxy"
  | "no-tls"
  | "certificate"
  | "protocol"
  | "interrupted";

/** A failure without any HTTP answer; it knows its kind, so that who asked can choose another way. */
export class NetworkFailure extends Failure {
  readonly trouble: NetworkTrouble;

  constructor(trouble: NetworkTrouble, options: ConstructorParameters<typeof Failure>[0]) {
    super(options);
    this.trouble = trouble;
  }

  /** Whether nothing at all was reached: the next request would wait as long, for nothing. */
  get foundNobody(): boolean {
    return ["dns", "refused", "timeout", "unreachable", "proxy"].includes(this.trouble);
  }

  /** Whether somebody was there, or had been: too much at once may have been too much. */
  get isInterruption(): boolean {
    return this.trouble === "interrupted" || this.trouble === "timeout";
  }
}

/** The codes that Bun 1.4.5 gives for what ends before an answer, measured. */
const TROUBLE_BY_CODE: Readonly<Record<string, NetworkTrouble>> = {
  ENOTFOUND: "dns",
  EAI_AGAIN: "dns",
  EAI_NODATA: "dns",
  EAI_FAIL: "dns",
  DNSException: "dns",
  ECONNREFUSED: "refused",
  ConnectionRefused: "refused",
  ETIMEDOUT: "timeout",
  EACCES: "unreachable",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  EHOSTDOWN: "unreachable",
  ENETDOWN: "unreachable",
  FailedToOpenSocket: "unreachable",
  ERR_PROXY_TUNNEL: "proxy",
  UnsupportedProxyProtocol: "proxy",
  EPROTO: "no-tls",
  ERR_SSL_WRONG_VERSION_NUMBER: "no-tls",
  InvalidHTTPResponse: "protocol",
  InvalidContentLength: "protocol",
};

const CERTIFICATE_CODE =
  /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|UNABLE_TO_GET_CRL|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH/;

function troubleOf(error: unknown): NetworkTrouble {
  const code = systemErrorCode(error) ?? "";
  return TROUBLE_BY_CODE[code] ?? (CERTIFICATE_CODE.test(code) ? "certificate" : "interrupted");
}

/** What a person wanted, for messages. */
export interface Errand {
  /** In their words: `"quay.io/team/app:1.2"`. */
  readonly subject: string;
  /** What was to be done to it; `fetch` by default. */
  readonly verb?: "fetch" | "push" | undefined;
}

/** How a message about an errand begins: `Cannot fetch "quay.io/team/app:1.2"`. */
export function cannot({ subject, verb = "fetch" }: Errand): string {
  return `Cannot ${verb} ${subject}`;
}

/** What was asked of whom, for messages. */
export interface Asked extends Errand {
  /** The host that was asked; never a whole URL, whose query may be a signature. */
  readonly host: string;
  /** The proxy in between, without its userinfo. */
  readonly proxyHost?: string;
}

/** The failure for an error that `fetch` threw, or a body's reader. The error itself is not shown. */
export function networkFailure(error: unknown, asked: Asked): NetworkFailure {
  const trouble = troubleOf(error);
  const code = printable(systemErrorCode(error) ?? "no code", 60);
  return describe(trouble, asked, code);
}

/** The failure for a host that gave no headers in time. */
export function headersTimedOut(asked: Asked, timeoutMs: number): NetworkFailure {
  return describe("timeout", asked, `${timeoutMs / 1000} s`);
}

const UNTRUSTED_HINT =
  "Give the authority's certificate: `caFile` where the site file names the registry (credentials, localRegistry), `certificates` in the user data";

/** What another certificate authority would not mend. */
const CERTIFICATE_HINTS: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID:
    "The certificate is for other names: use one of those, or have one made for this name",
  CERT_HAS_EXPIRED: "Have the certificate renewed, and check the clock of this machine",
  CERT_NOT_YET_VALID: "Check the clock of this machine, then the certificate",
};

function describe(trouble: NetworkTrouble, asked: Asked, detail: string): NetworkFailure {
  const { host, proxyHost } = asked;
  const peer = proxyHost === undefined ? host : `the proxy ${proxyHost} to ${host}`;
  const unreachable = (state: string, hint: string) =>
    new NetworkFailure(trouble, {
      code: "registry-unreachable",
      message: `${cannot(asked)}: ${state}`,
      hint,
      transient: true,
    });
  switch (trouble) {
    case "dns":
      return unreachable(
        `the name ${proxyHost ?? host} has no address (${detail}), expected one from DNS`,
        `Check the spelling of the host and the DNS of this machine: getent hosts ${withoutPort(proxyHost ?? host)}`,
      );
    case "refused":
      return unreachable(
        `${peer} refused the connection, expected ${proxyHost === undefined ? "a registry" : "a proxy"} there`,
        `Check the port, and that the ${proxyHost === undefined ? "registry" : "proxy"} is running and not behind a firewall`,
      );
    case "timeout":
      return unreachable(
        `${peer} did not answer (${detail}), expected an answer in time`,
        "Check the link and the firewall; when the site needs a proxy, set HTTPS_PROXY",
      );
    case "unreachable":
      return unreachable(
        `there is no way to ${peer} (${detail}), expected a route`,
        "Check the network and the default route of this machine",
      );
    case "proxy":
      return unreachable(
        `${peer} was not opened (${detail}), expected a tunnel`,
        "Check the proxy's address, user and password, and whether it allows this host; or add the host to NO_PROXY",
      );
    case "interrupted":
      return unreachable(
        `the connection to ${peer} broke (${detail}), expected an answer`,
        "Check the link; a firewall or proxy that cuts connections looks the same",
      );
    case "no-tls":
      return new NetworkFailure(trouble, {
        code: "registry-protocol",
        message: `${cannot(asked)}: ${peer} speaks no TLS that we know, expected https`,
        hint: "If the registry serves plain http, declare it insecure; else check its port",
      });
    case "certificate":
      return new NetworkFailure(trouble, {
        code: "registry-certificate",
        message: `${cannot(asked)}: the certificate of ${host} is not trusted (${detail}), expected one from a trusted authority and for this name`,
        hint: CERTIFICATE_HINTS[detail] ?? UNTRUSTED_HINT,
      });
    case "protocol":
      return new NetworkFailure(trouble, {
        code: "registry-protocol",
        message: `${cannot(asked)}: the answer of ${peer} is no valid HTTP (${detail}), expected a registry's answer`,
        hint: "Check that the address and port are those of a registry",
      });
  }
}

function withoutPort(host: string): string {
  return host.replace(/:[0-9]+$/, "").replace(/^\[|\]$/g, "");
}
