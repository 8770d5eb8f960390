import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { type ApiWorld, serveAgentApi, testUsers } from "#test-support/api-world";
import { hasChromium, launchChromium } from "#test-support/chromium";
import { pageAssets } from "../../src/daemon/page/page.ts";

// A browser is started: on a busy machine that takes its time.
setDefaultTimeout(60_000);

if (!hasChromium) console.warn("chromium is not installed: the page's own agent is left out");

let browser: Browser;
beforeAll(async () => {
  if (hasChromium) browser = await launchChromium();
});
afterAll(async () => await browser?.close());

/** The page as the agent itself serves it, and what the browser has to complain of. */
async function visit(world: ApiWorld) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "UTC" });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(`${error.stack}`));
  await page.goto(world.url);
  return { context, page, complaints };
}

async function signIn(page: Page, user: string, password = user): Promise<void> {
  await page.fill('#login input[name="user"]', user);
  await page.fill('#login input[name="password"]', password);
  await page.click("#login button[type=submit]");
}

async function cookieOf(context: BrowserContext) {
  const [cookie] = await context.cookies();
  return cookie;
}

test.skipIf(!hasChromium)(
  "an operator signs in on the agent's own page, sees the site, pauses it, and sees that too",
  async () => {
    const users = testUsers();
    await using world = await serveAgentApi({ access: users.access, isLoopbackOnly: false });
    const { context, page, complaints } = await visit(world);
    await signIn(page, "anna", "wrong");
    await page.getByText("the user or the password is wrong").waitFor();
    // A browser writes a line of its own for every answer of 400 and more.
    complaints.length = 0;
    await signIn(page, "anna");
    await page.locator("#connection", { hasText: "Live" }).waitFor();
    expect(await page.textContent("#who")).toBe("anna");
    expect(await cookieOf(context)).toMatchObject({ httpOnly: true, sameSite: "Strict" });
    expect(await page.textContent("#sentence")).toBe(world.agent.agent.state().verdict.sentence);

    await page.click('[data-action="pause"]');
    await page.locator("#action-note", { hasText: "accepted" }).waitFor();
    await world.agent.pass(1_000);
    await page.locator('[data-action="resume"]').waitFor();
    await page.locator("#journal", { hasText: "anna asked to pause" }).waitFor();
    expect(complaints).toEqual([]);

    await page.click("#logout");
    await page.locator('#login input[name="user"]').waitFor();
    expect(await cookieOf(context)).toBeUndefined();
    await context.close();
  },
);

test.skipIf(!hasChromium)(
  "a page of another site can't act, read, follow or frame, whether somebody is signed in or nobody need be",
  async () => {
    await using world = await serveAgentApi();
    const evil = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      reusePort: false,
      fetch: () => new Response(evilPage(world.url), { headers: { "content-type": "text/html" } }),
    });
    const context = await browser.newContext();
    const page = await context.newPage();
    const said: string[] = [];
    page.on("console", (message) => said.push(message.text()));
    await page.goto(evil.url.href);
    await page.locator("body[data-done]").waitFor({ state: "attached" });
    expect(JSON.parse((await page.getAttribute("body", "data-done")) ?? "")).toEqual({
      ...{ act: "refused", form: "refused", read: "refused", script: "refused", events: "refused" },
    });
    expect(said.filter((text) => text.startsWith("Framing"))).toHaveLength(1);
    expect(world.agent.agent.state().paused).toBeNull();
    const { text } = await world.ask("/metrics");
    expect(text).toMatch(/^drayage_api_readers 0$/m);
    await context.close();
    await evil.stop(true);
  },
);

const SCRIPT = pageAssets().find(({ path }) => path.endsWith(".js"))?.path ?? "";

/** Tries what a page can, and writes down how it went. */
function evilPage(target: string): string {
  return `<!doctype html><body><script type="module">
    const refused = (promise) => promise.then(() => "done", () => "refused");
    const pause = "${target}/api/v1/actions/pause";
    const headers = { "content-type": "application/json", "x-drayage": "1" };
    const loaded = (element) => new Promise((resolve, reject) => {
      element.onload = resolve;
      element.onerror = reject;
      document.body.append(element);
    });
    const script = Object.assign(document.createElement("script"), { src: "${target}${SCRIPT}" });
    const events = new EventSource("${target}/api/v1/events");
    const frame = Object.assign(document.createElement("iframe"), { src: "${target}/" });
    await loaded(frame).catch(() => undefined);
    const told = {
      act: await refused(fetch(pause, { method: "POST", headers, body: "{}" })),
      form: await refused(fetch(pause, { method: "POST", mode: "no-cors", body: "{}" })),
      read: await refused(fetch("${target}/api/v1/site")),
      script: await refused(loaded(script)),
      events: await refused(new Promise((resolve, reject) => {
        events.onopen = resolve;
        if (events.readyState === EventSource.CLOSED) reject();
        events.onerror = reject;
      })),
    };
    document.body.dataset.done = JSON.stringify(told);
  </script></body>`;
}
