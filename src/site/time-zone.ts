import { readlinkSync } from "node:fs";

/** What the link of the machine's time zone leads to: `../usr/share/zoneinfo/Europe/Berlin`. */
const ZONE = /\/zoneinfo\/(?:posix\/|right\/)?([A-Za-z0-9_+/-]+)$/;

/**
 * The IANA name of the machine's time zone. It is read where systems keep it (localtime(5)): who asks the
 * engine for it loads all that it knows of languages and calendars, 6 MB for good.
 */
export function machineTimeZone(
  { TZ }: Readonly<Record<string, string | undefined>>,
  localtime = "/etc/localtime",
): string {
  const named = TZ === undefined ? ZONE.exec(linkOf(localtime))?.[1] : undefined;
  return named ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
