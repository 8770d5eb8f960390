import { Failure, nearest, printable, quoted } from "#base";
import type { Plan, PlannedImage } from "#plan";
import { formatReference, parseReference, type Reference, repositoryName } from "#reference";
import { explainImage } from "#site";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type OutputFormat, planJson } from "./plan.ts";
import { planFor } from "./plan-for.ts";
import type { PlanOptions } from "./plan-options.ts";
import { imageLines, wantedBy } from "./plan-text.ts";
import { formatFindings } from "./report.ts";

/**
 * `dray explain REF`: why this image comes from there, rule by rule, and where it was declared. What
 * could be planned is explained also beside faults; JSON then is the plan document, which holds them.
 */
export async function runExplain(
  text: string,
  options: PlanOptions & { readonly output: OutputFormat },
  context: CliContext,
): Promise<ExitCode> {
  const { plan } = await planFor(options, context);
  context.err(formatFindings(plan.faults, []));
  const isRefused = plan.faults.length > 0;
  if (isRefused && options.output === "json") {
    context.out(planJson(plan));
    return EXIT.refused;
  }
  const images = findImages(text, plan);
  // Beside faults an image may be missing because of them.
  if (images.length === 0 && !isRefused) throw unknownImage(text, plan);
  if (options.output === "json")
    context.out(`${JSON.stringify(images.map(explainImage), null, 2)}\n`);
  else context.out(images.map(explainText).join("\n"));
  return isRefused ? EXIT.refused : EXIT.done;
}

/**
 * By the whole reference as declared, else by where it is fetched from or uploaded to; a name written
 * without tag and digest stands for all of its repository.
 */
function findImages(text: string, plan: Plan): readonly PlannedImage[] {
  const reference = parseReference(text);
  const name = formatReference(reference);
  const all = imagesOf(plan);
  const matches = [
    all.filter(({ declared }) => formatReference(declared) === name),
    all.filter(({ source, local }) => formatReference(source) === name || local === name),
    isBareName(text) ? ofRepository(reference, all) : [],
  ].find((found) => found.length > 0);
  return matches ?? [];
}

function imagesOf({ stages }: Plan): readonly PlannedImage[] {
  return stages.flatMap(({ images }) => images);
}

function ofRepository(
  reference: Reference,
  images: readonly PlannedImage[],
): readonly PlannedImage[] {
  const repository = repositoryName(reference);
  return images.filter(({ declared }) => repositoryName(declared) === repository);
}

function unknownImage(text: string, plan: Plan): Failure {
  const reference = parseReference(text);
  const name = formatReference(reference);
  const all = imagesOf(plan);
  return new Failure({
    code: "image-unknown",
    message: `Cannot explain ${quoted(name)}: it is not among the images of these profiles, expected a declared one`,
    hint: nearHint(name, ofRepository(reference, all), all),
  });
}

/** Neither tag nor digest was written: a colon, if any, is that of the registry's port. */
function isBareName(text: string): boolean {
  return !text.includes("@") && !/:[^/]*$/.test(text);
}

function nearHint(
  name: string,
  related: readonly PlannedImage[],
  all: readonly PlannedImage[],
): string {
  const names = (images: readonly PlannedImage[]) => {
    return images.map(({ declared }) => formatReference(declared));
  };
  if (related.length > 0) return `Declared are ${names(related).slice(0, 5).join(", ")}`;
  const near = nearest(name, names(all));
  return near === undefined ? "dray plan lists what is declared" : `Did you mean "${near}"?`;
}

/** A reason may hold two whole references, each as long as a name may be. */
const TEXT_LENGTH_MAX = 1000;

function explainText(image: PlannedImage): string {
  const [heading = "", from = "", credential = "", to = ""] = imageLines(image);
  return [
    heading.trimStart(),
    `  stage ${image.category}; ${wantedBy(image)}`,
    ...[from, credential, to].map((line) => line.slice(2)),
    "  because",
    ...image.because.map(({ rule, text }) => `    ${rule}: ${printable(text, TEXT_LENGTH_MAX)}`),
    "  declared at",
    ...image.at.map(
      ({ file, line, column, path }) =>
        `    ${printable(file)}:${line}:${column} ${printable(path)}`,
    ),
    "",
  ].join("\n");
}
