import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { launchChromium } from "../test/support/chromium.ts";
import { type PageScript, servePage } from "../test/support/page-fixture.ts";
import {
  deliveringScript,
  failureScript,
  manyImages,
  readyScript,
} from "../test/support/page-states.ts";
import { ROOT } from "./step.ts";

/** Where the pictures of the documentation are. */
const IMAGES = join(ROOT, "docs", "images");

interface Shot {
  readonly name: string;
  readonly script: PageScript;
  readonly width: number;
  readonly height: number;
  readonly isDark?: boolean;
  /** What is done before the picture is taken. */
  prepare?(page: Page): Promise<void>;
}

const DESK = { width: 1440, height: 900 };

const SHOTS: readonly Shot[] = [
  { ...DESK, height: 1000, name: "status-ready", script: readyScript() },
  { ...DESK, name: "status-delivering", script: deliveringScript() },
  { ...DESK, name: "status-failure", script: failureScript(), prepare: openFailedImage },
  {
    ...{ ...DESK, height: 840, name: "status-images" },
    script: { ...readyScript(), images: { active: manyImages(1000), staged: [] } },
    prepare: findImages,
  },
  { ...DESK, name: "status-dark", script: deliveringScript(), isDark: true },
  { name: "status-narrow", width: 360, height: 1300, script: deliveringScript() },
];

/** Pictures of the status page for the documentation, made from scripted states in a real Chromium. */
async function main(): Promise<void> {
  await mkdir(IMAGES, { recursive: true });
  await using browser = await launchChromium();
  const wanted = process.argv.slice(2);
  for (const shot of SHOTS) {
    if (wanted.length === 0 || wanted.includes(shot.name)) await take(browser, shot);
  }
}

async function take(browser: Browser, shot: Shot): Promise<void> {
  await using site = servePage(shot.script);
  await using context = await browser.newContext({
    viewport: { width: shot.width, height: shot.height },
    colorScheme: shot.isDark === true ? "dark" : "light",
    reducedMotion: "reduce",
    locale: "en-GB",
    timezoneId: "UTC",
  });
  const page = await context.newPage();
  await page.goto(site.url);
  await page.locator("#image-table tbody button").first().waitFor({ state: "attached" });
  await page.locator("#uplink svg").waitFor();
  await shot.prepare?.(page);
  const path = join(IMAGES, `${shot.name}.png`);
  await page.screenshot({ path });
  console.log(`docs/images/${shot.name}.png ${Math.round(Bun.file(path).size / 1024)} KiB`);
}

async function openFailedImage(page: Page): Promise<void> {
  await page.getByRole("combobox", { name: "State" }).selectOption("failed");
  await page.locator("#image-table tbody button").first().click();
  await page.getByRole("dialog").getByText("Declared at").waitFor();
  await page.evaluate("scrollTo(0, 0)");
}

async function findImages(page: Page): Promise<void> {
  await page.getByRole("searchbox").fill("team-3");
  await page.locator("#images-title").evaluate((title) => title.scrollIntoView());
}

await main();
