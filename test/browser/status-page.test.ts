import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { hasChromium, launchChromium } from "#test-support/chromium";
import { type PageFixture, type PageScript, servePage } from "#test-support/page-fixture";
import {
  deliveringScript,
  deliveryState,
  failureScript,
  imageState,
  journalEntry,
  manyImages,
  NOON,
  readyScript,
  shopImages,
  siteState,
} from "#test-support/page-states";

// A browser is started: on a busy machine that takes its time.
setDefaultTimeout(60_000);

if (!hasChromium)
  console.warn("chromium is not installed: the tests of the status page are left out");

let browser: Browser;
beforeAll(async () => {
  if (hasChromium) browser = await launchChromium();
});
afterAll(async () => await browser?.close());

/** A page that has shown its state, and everything that it must not do: complain, and ask elsewhere. */
interface Visit extends AsyncDisposable {
  readonly page: Page;
  readonly site: PageFixture;
  /** Errors in the console and uncaught ones; requests to any other origin. */
  readonly complaints: string[];
}

async function visit(script: PageScript, options: BrowserContextOptions = {}): Promise<Visit> {
  const site = servePage(script);
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "UTC", ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(`${error.stack}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(site.url)) complaints.push(`asks ${request.url()}`);
  });
  await page.goto(site.url);
  return {
    page,
    site,
    complaints,
    [Symbol.asyncDispose]: async () => {
      await context.close();
      await site[Symbol.asyncDispose]();
    },
  };
}

/** Waits until an element says it: the page shows what it is told in the next frame. */
async function says(element: Locator, text: string | RegExp): Promise<void> {
  await element.filter({ hasText: text }).first().waitFor({ timeout: 10_000 });
}

/** Waits until there are so many of it. */
async function counts(elements: Locator, many: number): Promise<void> {
  if (many > 0) await elements.nth(many - 1).waitFor({ state: "attached", timeout: 10_000 });
  await elements.nth(many).waitFor({ state: "detached", timeout: 10_000 });
}

const sentence = (page: Page) => page.getByRole("heading", { level: 1 });
const rows = (page: Page) => page.locator("#image-table tbody tr:not(.spacer)");
/** The button that has the focus: with the focus nowhere, the active element is all of the page. */
const focused = (page: Page) => page.locator("button:focus").textContent({ timeout: 5_000 });
const count = (page: Page) => page.locator("#images-count");

describe.skipIf(!hasChromium)("the status page", () => {
  test("says in one sentence what state the site is in, and asks nobody but its agent", async () => {
    await using seen = await visit(readyScript());
    await says(sentence(seen.page), "This site is ready offline: 16 of 16 references.");
    await says(seen.page.locator("#level"), "Ready");
    await says(seen.page.locator("#connection"), "Live");
    await says(count(seen.page), "16 images");
    await seen.page.locator("#uplink svg").waitFor();
    expect(await seen.page.title()).toBe("Ready · store-0412.edge.example.com · Drayage");
    expect(seen.complaints).toEqual([]);
    expect(seen.site.refused).toEqual([]);
  });

  test("says the sentence before its script, an answer of the API or an event has come", async () => {
    const site = servePage(readyScript());
    await using context = await browser.newContext();
    const page = await context.newPage();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    // Never answered.
    await page.route(/\.js$|\/api\//, () => {});
    await page.goto(site.url, { waitUntil: "commit" });
    await says(sentence(page), "This site is ready offline: 16 of 16 references.");
    await says(page.locator("#level"), "Ready");
    expect(await page.title()).toBe("Ready · store-0412.edge.example.com · Drayage");
    expect(asked.map((path) => path.replace(/-[\w-]{22}\./, "."))).toEqual([
      ...["/", "/style.css", "/page.js"],
    ]);
    await site[Symbol.asyncDispose]();
  });

  test("shows all of the site without asking who is there, and without an event", async () => {
    const site = servePage(readyScript());
    await using context = await browser.newContext();
    const page = await context.newPage();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await page.route("**/api/v1/events", () => {});
    await page.goto(site.url);
    await says(count(page), "16 images");
    await says(page.locator("#flow"), "16 images");
    await says(page.locator("#disk"), "14.6 GB");
    await page.getByRole("button", { name: "Prove" }).waitFor();
    expect(asked.filter((path) => /\/(me|site)$/.test(path))).toEqual([]);
    expect(asked.indexOf("/api/v1/images")).toBeLessThan(asked.indexOf("/api/v1/events"));
    await site[Symbol.asyncDispose]();
  });

  test("shows a delivery from its start to its end, without being loaded anew", async () => {
    const script = deliveringScript();
    script.state = {
      ...script.state,
      delivery: deliveryState([0, 0, 0], {
        bytesPerSecond: null,
        remainingMs: null,
        imagesSized: 3,
      }),
    };
    await using seen = await visit(script);
    const { page, site } = seen;
    const progress = page.locator("#progress");
    await says(progress, "3 of 16 sized so far");
    await page.evaluate("window.isTheSame = true");

    site.tell({ delivery: deliveryState([2_900, 1_620, 0]) });
    await says(progress, "45%");
    await says(progress, "about 40 min");
    await says(progress, "2.3 MB/s");
    const moving = page.locator(".ribbon-moves");
    expect(
      await moving.evaluateAll((all) => all.map((path) => path.getAttribute("data-kind"))),
    ).toEqual(["infrastructure", "infrastructure"]);

    const ready = siteState();
    site.tell({
      delivery: deliveryState([2_900, 2_440, 4_752], { endedMs: NOON, outcome: "done" }),
      verdict: {
        level: "waiting",
        sentence: "Revision c93f6e01b7d4 is staged and can be activated.",
        remedy: null,
      },
      actions: { ...ready.actions, activate: { allowed: true, why: "" } },
    });
    site.log(journalEntry(1001, "Revision c93f6e01b7d4 is staged"));
    await says(sentence(page), "is staged and can be activated");
    await progress.waitFor({ state: "hidden" });
    await says(page.locator("#flow-caption"), "The last delivery done");
    await says(page.locator("#journal li").first(), "Revision c93f6e01b7d4 is staged");
    await counts(moving, 0);
    expect(await page.evaluate("window.isTheSame")).toBe(true);
    expect(seen.complaints).toEqual([]);
  });

  test("tells a failure, what to do, and why the image comes from where it fails", async () => {
    await using seen = await visit(failureScript());
    const { page } = seen;
    const hint = "Write a password that is valid into externalRegistries[1] of the user data";
    await says(page.locator("#remedy"), hint);
    const warnings = page.locator("#warning-list > li");
    await counts(warnings, 2);
    await says(warnings.first().locator("p").first(), hint);
    await page.getByRole("combobox", { name: "State" }).selectOption("failed");
    await says(count(page), "3 of 16 images");
    await page.getByRole("button", { name: "point-of-sale" }).click();
    const drawer = page.getByRole("dialog");
    await says(drawer, "it answered 401");
    await says(drawer, "mapping-rule");
    await says(drawer, "profile.yaml:22:13");
    expect(seen.complaints).toEqual([]);
  });

  test("asks before it activates, says what will happen, and sends it once", async () => {
    const script = deliveringScript();
    const staged = { ...script.state.wanted, stagedMs: NOON } as typeof script.state.staged;
    const actions = { ...script.state.actions, activate: { allowed: true, why: "" } };
    script.state = { ...script.state, staged, wanted: null, actions, delivery: null };
    script.images.staged = shopImages().slice(2);
    await using seen = await visit(script);
    const { page, site } = seen;
    const activate = page.getByRole("button", { name: "Activate", exact: true });
    await activate.click();
    const dialog = page.getByRole("dialog");
    await says(dialog, "Activate revision c93f6e01b7d4?");
    await says(dialog, "Revision 4be1c07a92d3 stays on this site, for a rollback.");
    await says(dialog, "0 new, 2 no longer declared");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    expect(site.actions).toEqual([]);
    await activate.click();
    await dialog.getByRole("button", { name: "Activate" }).click();
    await says(page.locator("#action-note"), "Activate: accepted");
    expect(site.actions).toEqual(["activate"]);
    expect(site.refused).toEqual([]);
  });

  test("keeps what can't be done grey, with the reason, and tells a refusal", async () => {
    const script = readyScript();
    script.act = () => "Another proof is at work";
    await using seen = await visit(script);
    const { page, site } = seen;
    const stage = page.locator("[data-action=stage]");
    // Forced: the browser's driver waits for ever for what is greyed to be allowed.
    await stage.click({ force: true });
    await says(page.locator("#action-note"), "What is declared is on this site already");
    expect(await stage.getAttribute("aria-disabled")).toBe("true");
    expect(site.actions).toEqual([]);
    await page.getByRole("button", { name: "Prove" }).click();
    await says(page.locator("#action-note"), "Another proof is at work");
  });

  test("shows no actions to those who may only read", async () => {
    await using seen = await visit({ ...readyScript(), role: "read" });
    await says(sentence(seen.page), "ready offline");
    expect(await seen.page.locator("#actions").isHidden()).toBe(true);
  });

  test("asks for a login where one is required, and shows nothing before", async () => {
    const login = { user: "maria", password: "a long one" };
    await using seen = await visit({ ...readyScript(), login });
    const { page } = seen;
    const dialog = page.getByRole("dialog");
    await dialog.waitFor();
    await page.keyboard.press("Escape");
    await page.getByLabel("User").fill("maria");
    await page.getByLabel("Password").fill("wrong");
    await page.keyboard.press("Enter");
    await says(dialog, "User or password is wrong");
    expect(await sentence(page).textContent()).not.toContain("ready");
    await page.getByLabel("Password").fill("a long one");
    await page.keyboard.press("Enter");
    await says(sentence(page), "ready offline");
    await says(page.locator("#who"), "maria");
    await page.getByRole("button", { name: "Sign out" }).click();
    await dialog.waitFor();
  });

  test("writes numbers and times as the reader does, and words in its own language", async () => {
    await using seen = await visit(readyScript(), { locale: "de-DE", timezoneId: "Europe/Berlin" });
    const { page } = seen;
    await says(page.locator("#disk"), "14,6 GB");
    await says(page.locator("#revisions"), "3 days ago");
    await says(page.locator("#uplink"), "01.12.2026, 01:00");
  });

  test("says when the connection is lost, and goes on by itself when it is back", async () => {
    await using seen = await visit(readyScript());
    const { page, site } = seen;
    await says(page.locator("#connection"), "Live");
    site.cut(true);
    await says(page.locator("#connection"), "Connection lost, trying again.");
    await says(sentence(page), "ready offline");
    site.cut(false);
    site.tell({
      verdict: { level: "wanting", sentence: "Two images are wanting.", remedy: "Prove again" },
    });
    await says(sentence(page), "Two images are wanting.");
    await says(page.locator("#connection"), "Live");
  });

  test("is spoken when the site gets into another state, not when a number ticks", async () => {
    await using seen = await visit(deliveringScript());
    const { page, site } = seen;
    const spoken = page.locator("#announcement");
    await says(spoken, "is on its way");
    await page.evaluate(`
      window.spoken = 0;
      new MutationObserver(() => window.spoken++).observe(document.getElementById("announcement"), { childList: true, characterData: true, subtree: true });
    `);
    const { verdict } = deliveringScript().state;
    site.tell({ verdict: { ...verdict, sentence: "Revision c93f6e01b7d4 is on its way: 46 %." } });
    await says(sentence(page), "46 %");
    expect(await page.evaluate("window.spoken")).toBe(0);
    site.tell({ verdict: { level: "failed", sentence: "It has failed.", remedy: null } });
    await says(spoken, "It has failed.");
  });

  test("finds images by words, state, stage and registry", async () => {
    await using seen = await visit({
      ...readyScript(),
      images: { active: manyImages(240), staged: [] },
    });
    const { page } = seen;
    await says(count(page), "240 images");
    await page.getByRole("searchbox").fill("team-3 service-01");
    await says(count(page), /^1\d of 240 images/);
    await page.getByRole("searchbox").fill("");
    await page.getByRole("combobox", { name: "Registry" }).selectOption("registry-5.example.com");
    await says(count(page), "20 of 240 images");
    await page.getByRole("combobox", { name: "Stage" }).selectOption("infrastructure");
    await says(count(page), "4 of 240 images");
    await page.getByRole("combobox", { name: "State" }).selectOption("here");
    await page.getByRole("searchbox").fill("no such image");
    await says(page.locator("#image-table .empty"), "No image matches");
  });

  test("holds a thousand images with the rows in sight alone, and reaches the last by the keys", async () => {
    await using seen = await visit({
      ...readyScript(),
      images: { active: manyImages(1000), staged: [] },
    });
    const { page } = seen;
    await says(count(page), "1,000 images");
    const table = page.locator("table.images");
    expect(await table.getAttribute("aria-rowcount")).toBe("1001");
    expect(await rows(page).count()).toBeLessThan(40);
    await rows(page).first().getByRole("button").focus();
    await page.keyboard.press("End");
    await says(rows(page).last(), "service-0999");
    expect(await focused(page)).toContain("service-0999");
    expect(await rows(page).last().getAttribute("aria-rowindex")).toBe("1001");
    await page.keyboard.press("PageUp");
    await page.keyboard.press("ArrowUp");
    expect(await rows(page).count()).toBeLessThan(40);
    const height = await page.locator(".scroller").evaluate((scroller) => scroller.scrollHeight);
    expect(height).toBeGreaterThan(1000 * 56);
    expect(await page.locator("*").count()).toBeLessThan(1500);
    expect(seen.complaints).toEqual([]);
  });

  test("a search shows what it finds at once, wherever the list was scrolled to", async () => {
    await using seen = await visit({
      ...readyScript(),
      images: { active: manyImages(1000), staged: [] },
    });
    const { page } = seen;
    await says(count(page), "1,000 images");
    await rows(page).first().getByRole("button").focus();
    await page.keyboard.press("End");
    await says(rows(page).last(), "service-0999");
    // In one turn: no scroll event, no frame comes in between.
    const found = await page.evaluate<number>(`(() => {
      const search = document.querySelector("#image-filters input");
      search.value = "service-000";
      search.dispatchEvent(new Event("input", { bubbles: true }));
      return document.querySelectorAll("#image-table tbody tr:not(.spacer)").length;
    })()`);
    expect(found).toBe(10);
    await says(count(page), "10 of 1,000 images");
  });

  test("keeps the focus on an image while states and images come in", async () => {
    const script = deliveringScript();
    await using seen = await visit(script);
    const { page, site } = seen;
    await page.getByRole("button", { name: "postgres" }).focus();
    script.images.staged = shopImages();
    site.tell({ delivery: deliveryState([2_900, 2_000, 0]), at: NOON + 60_000 });
    await says(page.locator("#progress"), "49%");
    await says(rows(page).filter({ hasText: "postgres" }), "Here");
    expect(await focused(page)).toContain("postgres");
  });

  test("can be used with the keys alone", async () => {
    await using seen = await visit(readyScript());
    const { page } = seen;
    await says(count(page), "16 images");
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.className")).toBe("skip");
    await page.keyboard.press("Enter");
    const reached: string[] = [];
    for (let i = 0; i < 40; i += 1) {
      await page.keyboard.press("Tab");
      reached.push(
        await page.evaluate<string>(
          "document.activeElement.dataset.action || document.activeElement.name || document.activeElement.id || ''",
        ),
      );
    }
    for (const name of [
      "rollback",
      "prove",
      "search",
      "stage",
      "registry",
      "uplink-hours",
      "journal-level",
    ]) {
      expect([name, reached.some((id) => id.includes(name))]).toEqual([name, true]);
    }
    await page.locator("#image-table tbody button").first().focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    const drawer = page.getByRole("dialog");
    await says(drawer, "hardened-kubernetes");
    await page.keyboard.press("Escape");
    await drawer.waitFor({ state: "hidden" });
    expect(await focused(page)).toContain("hardened-kubernetes");
  });

  test("shows text of others as text, whatever is in it", async () => {
    const nasty = `evil.example.com/<img src=x onerror="window.isBroken=1">/"><script>window.isBroken=1</script>:1`;
    const script = readyScript({
      host: nasty,
      verdict: { level: "failed", sentence: nasty, remedy: nasty },
      warnings: [
        { level: "error", code: nasty, subject: nasty, message: nasty, hint: nasty, sinceMs: NOON },
      ],
      actions: { ...siteState().actions, stage: { allowed: false, why: nasty } },
      refused: {
        ...{ source: nasty, atMs: NOON },
        faults: [
          {
            code: nasty,
            message: nasty,
            remedy: nasty,
            file: nasty,
            line: 1,
            column: 1,
            path: nasty,
          },
        ],
      },
    });
    script.images.active = [
      imageState(nasty, {
        registry: nasty,
        packs: [nasty],
        because: [{ rule: nasty, text: nasty }],
        failure: { code: nasty, message: nasty, hint: nasty },
      }),
    ];
    script.journal = [journalEntry(1, nasty, { by: nasty })];
    await using seen = await visit(script);
    const { page } = seen;
    await page.locator("#image-table tbody button").first().click();
    await says(page.getByRole("dialog"), "profile.yaml:22:13");
    expect(await sentence(page).textContent()).toBe(nasty);
    expect(await page.locator("img, main script, dialog script").count()).toBe(0);
    expect(await page.evaluate("window.isBroken")).toBeUndefined();
    expect(seen.complaints).toEqual([]);
  });

  const WIDTHS = [360, 640, 768, 1024, 1440, 1920];
  test.each(WIDTHS)(
    "has no sideways scroll at %d pixels, with one registry and with twelve",
    async (width) => {
      const script = failureScript();
      script.state = { ...script.state, delivery: null };
      script.images.staged = manyImages(240);
      script.images.active = manyImages(1);
      await using seen = await visit(script, { viewport: { width, height: 800 } });
      const { page } = seen;
      const overflow = () =>
        page.evaluate<number>("document.documentElement.scrollWidth - innerWidth");
      for (const [revision, registries] of [
        ["active", 1],
        ["staged", 12],
      ] as const) {
        await page.getByRole("combobox", { name: "Revision" }).selectOption(revision);
        const boxes = page.locator("[data-column=registries] .box");
        await counts(boxes, registries);
        expect(await overflow()).toBeLessThanOrEqual(0);
        await page.locator(".ribbon-here").first().waitFor({ state: "attached" });
      }
      expect(seen.complaints).toEqual([]);
    },
  );

  test("follows the system's colours until one is chosen, and remembers that", async () => {
    await using seen = await visit(readyScript(), { colorScheme: "dark" });
    const { page } = seen;
    const ground = () =>
      page.evaluate<string>("getComputedStyle(document.documentElement).backgroundColor");
    const dark = await ground();
    await page.locator("#theme").selectOption("light");
    const light = await ground();
    expect(light).not.toBe(dark);
    await page.reload();
    expect(await ground()).toBe(light);
    await page.locator("#theme").selectOption("auto");
    expect(await ground()).toBe(dark);
  });

  const SCHEMES = ["light", "dark"] as const;
  test.each(SCHEMES)(
    "keeps text readable in %s: contrast of at least 4.5 to 1",
    async (colorScheme) => {
      await using seen = await visit(failureScript(), { colorScheme });
      const { page } = seen;
      await says(count(page), "16 images");
      const weak = await page.evaluate(WEAK_CONTRASTS);
      expect(weak).toEqual([]);
    },
  );

  test("pages through the journal, and leaves out what is not asked for", async () => {
    const script = readyScript();
    script.journal = Array.from({ length: 60 }, (_, i) =>
      journalEntry(60 - i, `entry ${60 - i}`, { level: i % 10 === 0 ? "error" : "info" }),
    );
    await using seen = await visit(script);
    const { page } = seen;
    const lines = page.locator("#journal li");
    const older = page.getByRole("button", { name: "Older entries" });
    await says(lines.first(), "entry 60");
    await counts(lines, 25);
    await older.click();
    await counts(lines, 50);
    await older.click();
    await counts(lines, 60);
    await says(lines.last(), /entry 1$/);
    await older.waitFor({ state: "hidden" });
    await page.locator("#journal-level").selectOption("error");
    await counts(lines, 6);
  });

  const MOTIONS = [
    ["reduce", "none"],
    ["no-preference", "travel"],
  ] as const;
  test.each(MOTIONS)(
    "with motion: %s, what moves is animated by %s",
    async (reducedMotion, name) => {
      await using seen = await visit(deliveringScript(), { reducedMotion });
      const { page } = seen;
      await says(count(page), "16 images");
      const animation = 'getComputedStyle(document.querySelector(".ribbon-moves")).animationName';
      expect(await page.evaluate<string>(animation)).toBe(name);
    },
  );
});

/**
 * Every element with text of its own, against the ground that is behind it, by the formula of WCAG 2.2.
 * Runs in the page; answers with what has less than 4.5 to 1.
 */
const WEAK_CONTRASTS = `(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const groundOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!hasText || !element.checkVisibility()) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgb(element instanceof SVGElement ? style.fill : style.color)), light(groundOf(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(element.tagName + "." + element.getAttribute("class") + " " + ratio.toFixed(2) + " " + element.textContent.slice(0, 30));
  }
  return seen > 100 ? weak : ["only " + seen + " texts were looked at"];
})()`;
