import { quoted } from "#base";
import { usage } from "./usage.ts";

/** Where a server listens. */
export interface Listening {
  readonly hostname: string;
  readonly port: number;
}

/**
 * Reads `host:port`; without a host it is every interface, as in the site file.
 *
 * @param example what the hint shows
 * @throws {Failure} `usage`
 */
export function parseListen(text: string, example: string): Listening {
  const [, host, port] = /^(.*):(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) < 65_536) {
    return { hostname: host === "" ? "0.0.0.0" : host, port: Number(port) };
  }
  throw usage(
    `Cannot listen on ${quoted(text)}: expected host:port`,
    `Write it like "${example}"; port 0 takes a free one`,
  );
}
