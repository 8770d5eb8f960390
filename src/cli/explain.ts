import { Failure, nearest, printable, quoted } from "#base";
import type { Plan, PlannedImage } from "#plan";
import { formatReference, parseReference, repositoryName } from "#reference";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type OutputFormat, planOrRefuse } from "./plan.ts";
import type { PlanOptions } from "./plan-inputs.ts";
import { imageLines } from "./plan-text.ts";

/** `dray explain REF`: why this image comes from there, rule by rule, and where it was declared. */
export function runExplain(
  text: string,
  options: PlanOptions & { readonly output: OutputFormat },
  context: CliContext,
): ExitCode {
  const planned = planOrRefuse(options, context);
  if (planned === undefined) return EXIT.refused;
  const images = findImages(text, planned.plan);
  if (options.output === "json")
    context.out(`${JSON.stringify(images.map(explanation), null, 2)}\n`);
  else context.out(images.map(explainText).join("\n"));
  return EXIT.done;
}

/** By the whole reference, else by where it is fetched from, else every tag of the repository. */
function findImages(text: string, plan: Plan): readonly PlannedImage[] {
  const reference = parseReference(text);
  const name = formatReference(reference);
  const all = plan.stages.flatMap(({ images }) => images);
  const matches = [
    all.filter(({ declared }) => formatReference(declared) === name),
    all.filter(({ source }) => formatReference(source) === name),
    all.filter(({ declared }) => repositoryName(declared) === repositoryName(reference)),
  ].find((found) => found.length > 0);
  if (matches !== undefined) return matches;
  const near = nearest(
    name,
    all.map(({ declared }) => formatReference(declared)),
  );
  throw new Failure({
    code: "image-unknown",
    message: `Cannot explain ${quoted(name)}: no pack of these profiles declares it`,
    hint:
      near === undefined
        ? "dray plan lists what is declared"
        : `Did you mean "${printable(near)}"?`,
  });
}

function explanation(image: PlannedImage) {
  return {
    declared: formatReference(image.declared),
    source: formatReference(image.source),
    stage: image.category,
    credential: image.access.origin,
    local: image.local,
    because: image.because,
    packs: image.packs,
    at: image.at,
  };
}

function explainText(image: PlannedImage): string {
  const [heading = "", from = "", credential = "", to = ""] = imageLines(image);
  return [
    heading.trimStart(),
    `  stage ${image.category}`,
    ...[from, credential, to].map((line) => line.slice(2)),
    "  because",
    ...image.because.map(({ rule, text }) => `    ${rule}: ${text}`),
    "  declared at",
    ...image.at.map(({ file, line, column, path }) => `    ${file}:${line}:${column} ${path}`),
    "",
  ].join("\n");
}
