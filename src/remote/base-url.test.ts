import { describe, expect, test } from "bun:test";
import { failureOf, signal, sourceAt } from "#test-support/remote-world";
import { BaseUrl, type BaseUrlOptions } from "./base-url.ts";
import { NetworkFailure, type NetworkTrouble } from "./network-failure.ts";

const INSECURE = { insecure: true };
const SECURE = { insecure: false };

/** A base URL, what was said of it, and a host behind it that answers as `troubles` say by scheme. */
function hostWith(
  options: Partial<BaseUrlOptions> = {},
  troubles: Partial<Record<"https:" | "http:", NetworkTrouble>> = {},
) {
  const asked: string[] = [];
  const said: string[] = [];
  const base = new BaseUrl({
    ...{ host: "reg.test:5000", access: SECURE },
    warnings: { say: (host, message) => said.push(`${host}: ${message}`) },
    ...options,
  });
  const send = async ({ href, protocol }: URL) => {
    asked.push(href);
    const trouble = protocol === "https:" ? troubles["https:"] : troubles["http:"];
    if (trouble !== undefined) throw failing(trouble);
    return href;
  };
  return { base, asked, said, ask: (path: string | URL = "/v2/") => base.ask(path, send) };
}

function failing(trouble: NetworkTrouble): NetworkFailure {
  const failure = { code: "registry-unreachable", message: `Cannot: ${trouble}`, hint: "Wait" };
  return new NetworkFailure(trouble, failure);
}

describe("a host is asked", () => {
  test("by https, and by nothing else, when the access allows no plain http", async () => {
    const host = hostWith({}, { "https:": "refused" });
    expect((await failureOf(host.ask())).message).toBe("Cannot: refused");
    expect(host.asked).toEqual(["https://reg.test:5000/v2/"]);
    expect(host.base.known).toBeUndefined();
  });

  test.each<NetworkTrouble>(["no-tls", "refused"])(
    "by plain http after https (%s) when it is declared insecure, which is said",
    async (trouble) => {
      const host = hostWith({ access: INSECURE }, { "https:": trouble });
      expect(await host.ask()).toBe("http://reg.test:5000/v2/");
      expect(host.asked).toEqual(["https://reg.test:5000/v2/", "http://reg.test:5000/v2/"]);
      expect(host.said).toEqual([
        "reg.test:5000: it speaks no https: plain http is used, as `insecure` allows",
      ]);
    },
  );

  test.each(["127.0.0.1:5000", "localhost:5000", "[::1]:5000"])(
    "by plain http after https when it is this machine (%s), which needs no word",
    async (name) => {
      const host = hostWith({ host: name }, { "https:": "no-tls" });
      expect(await host.ask()).toBe(`http://${name}/v2/`);
      expect(host.said).toEqual([]);
    },
  );

  test("by https while it is told what may be asked next, and so only before it is known", async () => {
    const told: string[] = [];
    const onAlternative = ({ href }: URL) => told.push(href);
    const host = hostWith({ access: INSECURE, onAlternative }, { "https:": "no-tls" });
    await host.ask();
    await host.ask();
    expect(told).toEqual(["http://reg.test:5000/"]);
    await hostWith({ onAlternative }).ask();
    expect(told).toHaveLength(1);
  });

  test.each<NetworkTrouble>([
    "dns",
    "timeout",
    "unreachable",
    "proxy",
    "certificate",
    "protocol",
    "interrupted",
  ])("by https alone when that fails for %s, which is no lack of https", async (trouble) => {
    const host = hostWith({ access: INSECURE }, { "https:": trouble });
    expect((await failureOf(host.ask())).message).toBe(`Cannot: ${trouble}`);
    expect(host.asked).toHaveLength(1);
  });

  test("by https alone when it fails for something that is no network's doing", async () => {
    const { base } = hostWith({ access: INSECURE });
    let asked = 0;
    const refused = new Error("the caller's own");
    const asking = base.ask("/v2/", async () => {
      asked += 1;
      throw refused;
    });
    await expect(asking).rejects.toBe(refused);
    expect(asked).toBe(1);
  });

  test.each(["http", "https"] as const)("by %s alone when it is told so", async (scheme) => {
    const host = hostWith({ access: INSECURE, scheme }, { [`${scheme}:`]: "refused" });
    await failureOf(host.ask());
    expect(host.asked).toEqual([`${scheme}://reg.test:5000/v2/`]);
  });
});

describe("what answered", () => {
  test("is the only one that is asked from then on, and is said once", async () => {
    const troubles: { "https:"?: NetworkTrouble } = { "https:": "refused" };
    const host = hostWith({ access: INSECURE }, troubles);
    expect(host.base.likely.protocol).toBe("https:");
    await host.ask();
    expect(host.base.likely).toEqual(new URL("http://reg.test:5000"));
    delete troubles["https:"];
    expect(await host.ask("/v2/a?n=1")).toBe("http://reg.test:5000/v2/a?n=1");
    expect(host.asked).toHaveLength(3);
    expect(host.said).toHaveLength(1);
  });

  test("by https stays so: plain http is no way out later", async () => {
    const troubles: { "https:"?: NetworkTrouble } = {};
    const host = hostWith({ access: INSECURE }, troubles);
    await host.ask();
    troubles["https:"] = "refused";
    await failureOf(host.ask());
    expect(host.asked).toEqual(["https://reg.test:5000/v2/", "https://reg.test:5000/v2/"]);
  });

  test("is not known when nobody did, and both are tried again", async () => {
    const host = hostWith({ access: INSECURE }, { "https:": "no-tls", "http:": "refused" });
    for (let i = 0; i < 2; i += 1) await failureOf(host.ask());
    expect(host.asked.map((href) => new URL(href).protocol)).toEqual([
      "https:",
      "http:",
      "https:",
      "http:",
    ]);
    expect(host.base.known).toBeUndefined();
    expect(host.said).toEqual([]);
  });
});

describe("a URL that the host gave", () => {
  test("is asked as it is, and of another origin it says nothing of the host", async () => {
    const host = hostWith({ access: INSECURE }, { "https:": "refused" });
    const upload = new URL("http://storage.test/upload?sig=1");
    expect(host.base.isElsewhere(upload)).toBe(true);
    expect(await host.ask(upload)).toBe(upload.href);
    expect(host.base.known).toBeUndefined();
    expect(host.said).toEqual([]);
  });

  test("of its own origin is asked by no other scheme, and answers for the host", async () => {
    const own = new URL("https://reg.test:5000/v2/a/blobs/uploads/1");
    const host = hostWith({ access: INSECURE });
    expect(host.base.isElsewhere(own)).toBe(false);
    await host.ask(own);
    expect(host.base.known).toEqual(new URL("https://reg.test:5000"));
    const dead = hostWith({ access: INSECURE }, { "https:": "refused" });
    await failureOf(dead.ask(own));
    expect(dead.asked).toEqual([own.href]);
  });
});

test("a host that many ask first at once is looked for by one of them (C-154)", async () => {
  let hellos = 0;
  let requests = 0;
  using registry = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, data) {
        const isHttp = data.toString("latin1").startsWith("HEAD ");
        if (isHttp) requests += 1;
        else hellos += 1;
        socket.end(`HTTP/1.1 ${isHttp ? "404 Not Found" : "400 Bad Request"}\r\n\r\n`);
      },
    },
  });
  const source = sourceAt(`127.0.0.1:${registry.port}`);
  const resolving = Array.from({ length: 10 }, (_, i) => source.resolve(`v${i}`, { signal }));
  const failures = await Promise.all(resolving.map(failureOf));
  expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(["content-missing"]));
  expect([hellos, requests]).toEqual([1, 10]);
});
