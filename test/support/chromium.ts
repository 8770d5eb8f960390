import { type Browser, chromium } from "playwright-core";

/** Debian's Chromium, or the one that `CHROMIUM` names. */
const EXECUTABLE: string | null = process.env["CHROMIUM"] ?? Bun.which("chromium");

/** Whether there is a browser to test with: `apt-get install chromium`. */
export const hasChromium: boolean = EXECUTABLE !== null;

/** A headless browser without a sandbox of its own: tests run as root in containers, on pages of ours. */
export async function launchChromium(): Promise<Browser> {
  if (EXECUTABLE === null) throw new Error("chromium is not installed");
  return await chromium.launch({
    executablePath: EXECUTABLE,
    headless: true,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-lcd-text"],
  });
}
