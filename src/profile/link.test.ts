import { describe, expect, test } from "bun:test";
import { Findings } from "#base";
import { type LinkSettings, UNLIMITED_LINK } from "#link";
import { createMemoryFiles } from "#test-support/memory-files";
import { readClusterInputs } from "./cluster-inputs.ts";

/** Reads a site file whose `link:` holds these lines; line 2 of the file is the first of them. */
function read(lines: string): { readonly link: LinkSettings; readonly findings: Findings } {
  const findings = new Findings();
  const text = `link:\n${lines.replace(/^(?=.)/gm, "  ")}\n`;
  const profile = "metadata: { name: x }\nspec: { template: { packs: [] } }\n";
  const files = createMemoryFiles({ "site.yaml": text, "profile.yaml": profile });
  const names = { profiles: ["profile.yaml"], site: "site.yaml" };
  const { site } = readClusterInputs(names, files, findings);
  return { link: site.link, findings };
}

/** The faults of the site file, as `line:column code`. */
function faults(lines: string): readonly string[] {
  return read(lines)
    .findings.faults.filter(({ file }) => file === "site.yaml")
    .map(({ line, column, code }) => `${line}:${column} ${code}`);
}

const DAILY = [1, 2, 3, 4, 5, 6, 7];

describe("link:", () => {
  test("is an unlimited link where it says nothing", () => {
    for (const lines of ["", "{}", "windows:", "rate:"]) {
      expect({ lines, link: read(lines).link }).toEqual({ lines, link: UNLIMITED_LINK });
    }
  });

  test("is read as a whole", () => {
    const { link, findings } = read(`
rate: 20Mbit
windows:
  - { days: [mon-fri], from: "22:00", to: "06:00" }
  - { days: [daily], from: "06:00", to: "22:00", rate: 1Mbit }
timeZone: europe/berlin
quota: { bytes: 50GB, period: month, resetDay: 15 }
fetcher: 10.0.0.5:5055`);
    expect(findings.faults.filter(({ file }) => file === "site.yaml")).toEqual([]);
    expect(link).toEqual({
      bytesPerSecond: 2_500_000,
      windows: [
        { days: [1, 2, 3, 4, 5], fromMinute: 1320, toMinute: 360, bytesPerSecond: undefined },
        { days: DAILY, fromMinute: 360, toMinute: 1320, bytesPerSecond: 125_000 },
      ],
      timeZone: "Europe/Berlin",
      quota: { bytes: 50e9, resetDay: 15 },
    });
    expect(findings.warnings).toEqual([]);
  });

  test("refuses keys it does not know", () => {
    const { findings } = read(
      "rates: 1MB\nquota: { byte: 1, bytes: 1 }\nwindows: [{ dayz: [mon] }]",
    );
    expect(findings.faults.filter(({ code }) => code === "key-unknown")).toMatchObject([
      { line: 2, column: 3, remedy: 'Did you mean "rate"?' },
      { line: 3, column: 12, remedy: 'Did you mean "bytes"?' },
      { line: 4, column: 15, remedy: 'Did you mean "days"?' },
    ]);
  });
});

describe("a rate", () => {
  test.each([
    ["8bit", 1],
    ["800kbit", 100_000],
    ["20Mbit", 2_500_000],
    ["20 Mbit/s", 2_500_000],
    ["1Gbit", 125_000_000],
    ["9B", 9],
    ["800kB", 800_000],
    ["2.5MB", 2_500_000],
    ["1KiB/s", 1024],
    ["1MiB", 1_048_576],
    ['"0.5GiB"', 536_870_912],
  ])("%s is %i bytes per second", (text, bytesPerSecond) => {
    const { link, findings } = read(`rate: ${text}`);
    expect(findings.faults.filter(({ file }) => file === "site.yaml")).toEqual([]);
    expect(link.bytesPerSecond).toBe(bytesPerSecond);
  });

  test.each([
    ...["20", "20Mb", "20mbit", "20Mbps", "20MBps", "20 MB/h", "MB", "-1MB", "1e3MB", "1,5MB"],
    ...["0MB", "7bit", "99999999999999GB", "1.MB", "constructor", "5constructor", "∞MB"],
  ])("%s is refused where it stands", (text) => {
    expect(faults(`rate: ${text}`)).toEqual(["2:9 link-rate-invalid"]);
    expect(faults(`windows: [{ rate: ${text.replace(",", "_")} }]`)).toEqual([
      "2:21 link-rate-invalid",
    ]);
  });

  test("above the link's own is told: it is never reached", () => {
    const { findings } = read("rate: 1MB\nwindows: [{ rate: 10Mbit }]");
    expect(findings.warnings).toMatchObject([
      { code: "link-rate-unreachable", line: 3, column: 21 },
    ]);
    expect(read("rate: 1MB\nwindows: [{ rate: 8Mbit }]").findings.warnings).toEqual([]);
  });
});

describe("a window", () => {
  const days = (text: string) => read(`windows: [{ days: ${text} }]`).link.windows?.[0]?.days;

  test.each([
    ["[mon]", [1]],
    ["mon", [1]],
    ["[Sun, sat, sat]", [7, 6]],
    ["[mon-fri]", [1, 2, 3, 4, 5]],
    ["[fri-mon]", [5, 6, 7, 1]],
    ["[mon-mon]", [1]],
    ["[mon-fri, sun]", [1, 2, 3, 4, 5, 7]],
    ["[daily]", DAILY],
    ["", DAILY],
  ])("of the days %s", (text, expected) => {
    expect(days(text)).toEqual(expected);
  });

  test.each([
    ["[mo]", ["2:22 link-day-invalid"]],
    ["[monday]", ["2:22 link-day-invalid"]],
    ["[mon-fri-sun]", ["2:22 link-day-invalid"]],
    ["[mon-]", ["2:22 link-day-invalid"]],
    ["[tue, daily-mon, x]", ["2:27 link-day-invalid", "2:38 link-day-invalid"]],
    ["[1]", ["2:22 link-day-invalid"]],
    ["['']", ["2:22 link-day-invalid"]],
    ["[[mon]]", ["2:22 value-wrong-shape"]],
    ["{ mon: 1 }", ["2:21 value-wrong-shape"]],
    ["[]", ["2:21 link-window-empty"]],
  ])("refuses the days %s", (text, expected) => {
    expect(faults(`windows: [{ days: ${text} }]`)).toEqual(expected);
  });

  test("names the day that was meant", () => {
    expect(read("windows: [{ days: [Monday-friday] }]").findings.faults).toMatchObject([
      { remedy: 'Did you mean "mon-fri"?' },
    ]);
  });

  const times = (text: string) => {
    const { fromMinute, toMinute } = read(`windows: [{ ${text} }]`).link.windows?.[0] ?? {};
    return [fromMinute, toMinute];
  };

  test.each([
    ["from: 22:00, to: 06:00", [1320, 360]],
    ['from: "00:00", to: "24:00"', [0, 1440]],
    ["from: 22:00, to: 00:00", [1320, 0]],
    ["from: 6:05", [365, 1440]],
    ["to: 6:05", [0, 365]],
    ["days: [sat]", [0, 1440]],
  ])("%s", (text, expected) => {
    expect(times(text)).toEqual(expected);
  });

  test.each([
    ["from: 24:00, to: 06:00", ["2:21 link-time-invalid"]],
    ["to: 24:01", ["2:19 link-time-invalid"]],
    ["to: 25:00", ["2:19 link-time-invalid"]],
    ["to: 12:60", ["2:19 link-time-invalid"]],
    ["from: 6, to: 6am", ["2:21 link-time-invalid", "2:28 link-time-invalid"]],
    ['from: ""', ["2:21 link-time-invalid"]],
    ["from: [6]", ["2:21 value-wrong-shape"]],
    ["from: 06:00, to: 06:00", ["2:13 link-window-empty"]],
    ["from: 00:00, to: 00:00", ["2:13 link-window-empty"]],
  ])("refuses %s", (text, expected) => {
    expect(faults(`windows: [{ ${text} }]`)).toEqual(expected);
  });

  test("must be there, and be one, where windows are written", () => {
    expect(faults("windows: []")).toEqual(["2:12 link-window-empty"]);
    expect(faults("windows: [null, 5]")).toEqual([
      "2:13 link-window-empty",
      "2:19 value-wrong-shape",
    ]);
    expect(faults("windows: daily")).toEqual(["2:12 value-wrong-shape"]);
  });
});

describe("windows that overlap", () => {
  const lines = (first: string, second: string, rate = "") =>
    `${rate}windows:\n  - { ${first} }\n  - { ${second} }`;

  test("are refused when their rates differ, with both places and the time", () => {
    const { findings } = read(
      lines("days: [sun], from: 22:00, to: 06:00", "days: [mon], to: 08:00, rate: 1MB"),
    );
    expect(findings.faults).toMatchObject([{ code: "link-window-overlap", line: 4, column: 7 }]);
    expect(findings.faults[0]?.message).toContain("from mon 00:00 on, the window in line 3");
  });

  test("are one window when their rates are the same", () => {
    expect(faults(lines("days: [fri], from: 22:00, to: 06:00", "days: [sat]"))).toEqual([]);
    // Neither can be faster than the link itself.
    expect(faults(lines("rate: 3MB", "rate: 2MB", "rate: 1MB\n"))).toEqual([]);
    expect(faults(lines("rate: 3MB", "days: [wed], rate: 2MB", "rate: 3MB\n"))).toEqual([
      "5:7 link-window-overlap",
    ]);
  });

  test("may touch", () => {
    expect(faults(lines("from: 22:00, to: 06:00", "from: 06:00, to: 22:00, rate: 1kB"))).toEqual(
      [],
    );
  });
});

describe("a time zone", () => {
  test("is known, or refused with the one that was meant", () => {
    expect(read("timeZone: UTC").link.timeZone).toBe("UTC");
    expect(read("timeZone: Europe/Berlni").findings.faults).toMatchObject([
      {
        code: "link-time-zone-unknown",
        line: 2,
        column: 13,
        remedy: 'Did you mean "Europe/Berlin"?',
      },
    ]);
    expect(faults("timeZone: 2026-01-01T00:00Z")).toEqual(["2:13 link-time-zone-unknown"]);
  });
});

describe("a quota", () => {
  test.each([
    ["{ bytes: 50GB }", { bytes: 50e9, resetDay: 1 }],
    ["{ bytes: 1.5 TiB, resetDay: 31 }", { bytes: 1.5 * 2 ** 40, resetDay: 31 }],
    ["{ bytes: 50000000000, period: month }", { bytes: 50e9, resetDay: 1 }],
  ])("%s", (text, expected) => {
    expect(read(`quota: ${text}`).link.quota).toEqual(expected);
  });

  test.each([
    ["{}", ["2:10 link-quota-without-bytes"]],
    ["{ bytes: }", ["2:10 link-quota-without-bytes"]],
    ["{ bytes: 50Gbit }", ["2:19 link-size-invalid"]],
    ["{ bytes: 50GB/s }", ["2:19 link-size-invalid"]],
    ["{ bytes: 0 }", ["2:19 link-size-invalid"]],
    ["{ bytes: 1GB, period: week }", ["2:32 value-unknown"]],
    ["{ bytes: 1GB, resetDay: 0 }", ["2:34 link-reset-day-invalid"]],
    ["{ bytes: 1GB, resetDay: 32 }", ["2:34 link-reset-day-invalid"]],
    ["{ bytes: 1GB, resetDay: last }", ["2:34 link-reset-day-invalid"]],
    ["{ bytes: 1GB, resetDay: 1.5 }", ["2:34 link-reset-day-invalid"]],
    ["50GB", ["2:10 value-wrong-shape"]],
  ])("refuses %s", (text, expected) => {
    expect(faults(`quota: ${text}`)).toEqual(expected);
  });
});
