import { printable } from "#base";

/** One number, and what tells it from its neighbours. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Numbers of one meaning and unit. */
export interface Metric {
  /** In base units and with the unit at its end: `drayage_store_bytes`; of a counter without `_total`. */
  readonly name: string;
  readonly type: "counter" | "gauge";
  /** One sentence. */
  readonly help: string;
  readonly samples: readonly Sample[];
}

/**
 * The two text formats of Prometheus: its own, 0.0.4, which everything reads, and OpenMetrics 1.0, in which
 * a counter's family goes without `_total` and the end is marked, so that a cut answer is noticed.
 */
export type ExpositionFormat = "prometheus" | "openmetrics";

/** What a format is called in `Content-Type`. */
export const EXPOSITION_TYPES: Readonly<Record<ExpositionFormat, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** The format that who asks prefers: OpenMetrics where it is named, and not with a weight of nothing. */
export function expositionFormat(accept: string | null): ExpositionFormat {
  const wanted = (accept ?? "").split(",").map((range) => range.trim().toLowerCase());
  const isOpen = wanted.some(
    (range) => /^application\/openmetrics-text\b/.test(range) && !/;\s*q=0(\.0*)?$/.test(range),
  );
  return isOpen ? "openmetrics" : "prometheus";
}

/** Metrics as text. A metric without samples is left out: nothing is known of it. */
export function exposition(metrics: readonly Metric[], format: ExpositionFormat): string {
  const lines = metrics
    .filter(({ samples }) => samples.length > 0)
    .flatMap((metric) => familyLines(metric, format));
  return [...lines, ...(format === "openmetrics" ? ["# EOF"] : []), ""].join("\n");
}

function familyLines({ name, type, help, samples }: Metric, format: ExpositionFormat): string[] {
  const sampled = type === "counter" ? `${name}_total` : name;
  const family = format === "openmetrics" ? name : sampled;
  return [
    `# HELP ${family} ${escaped(help)}`,
    `# TYPE ${family} ${type}`,
    ...samples.map(({ labels, value }) => `${sampled}${labelText(labels)} ${numberText(value)}`),
  ];
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${escaped(printable(value))}"`,
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}
