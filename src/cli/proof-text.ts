import { formatBytes, printable } from "#base";
import { STAGE_NAMES } from "#plan";
import type { Problem, Proof, ProofDepth, ProvenReference } from "#prove";

/** A sentence may hold two whole references, each as long as a name may be. */
const TEXT_LENGTH_MAX = 1000;

/** The proof for eyes: a line a reference, what is wanting with what to do, and the answer last. */
export function formatProof(proof: Proof): string {
  const { site, references } = proof;
  const stages = STAGE_NAMES.flatMap((name) => {
    const those = references.filter(({ stage }) => stage === name);
    return those.length === 0 ? [] : [name, ...those.flatMap(referenceLines)];
  });
  return [
    ...stages,
    ...(site.problems.length === 0 ? [] : ["site", ...site.problems.flatMap(problemLines)]),
    ...site.notes.map((note) => `note: ${printable(note, TEXT_LENGTH_MAX)}`),
    ...redirectionLine(proof),
    verdict(proof),
    "",
  ].join("\n");
}

function referenceLines({ ok, declared, problems }: ProvenReference): readonly string[] {
  if (ok) return [`  ok       ${printable(declared, TEXT_LENGTH_MAX)}`];
  return [`  wanting  ${printable(declared, TEXT_LENGTH_MAX)}`, ...problems.flatMap(problemLines)];
}

function problemLines({ code, message, remedy }: Problem): readonly string[] {
  return [
    `    ${printable(message, TEXT_LENGTH_MAX)} [${code}]`,
    `      do: ${printable(remedy, TEXT_LENGTH_MAX)}`,
  ];
}

function redirectionLine({ site: { runtime } }: Proof): readonly string[] {
  return runtime === null
    ? ["note: no redirection: no runtime is named, so none was looked at (runtime.kind, --runtime)"]
    : [];
}

function verdict({ ok, references, site, digest }: Proof): string {
  const ready = references.filter((reference) => reference.ok).length;
  const total = `${ready} of ${references.length} ${references.length === 1 ? "reference" : "references"}`;
  const bytes = references.reduce((sum, reference) => sum + reference.bytes, 0);
  const amount = `${formatBytes(bytes)} of images, ${depthText(site.depth)}`;
  const wanting = references.length - ready;
  const asWhole = site.problems.length === 0 ? "" : ", and what is said of the site as a whole";
  const answer = ok
    ? `This site is ready offline: ${total}; ${amount}`
    : `Not ready: ${wanting} of ${references.length} references are wanting${asWhole}`;
  return `${answer}\nproof ${digest}`;
}

function depthText(depth: ProofDepth): string {
  switch (depth.kind) {
    case "full":
      return "every blob read and hashed";
    case "sample":
      return `${depth.percent} % of the blobs read and hashed`;
    case "ends":
      return "the end of one blob of each read";
  }
}
