import { Option } from "commander";
import {
  type CommandLine,
  clusterPlatformOption,
  examples,
  fromOption,
  outputOption,
  siteStoreOption,
} from "./command-options.ts";
import { parseRate, parseTime, parseWait } from "./option-values.ts";
import { addPlanOptions } from "./plan-options.ts";
import { usage } from "./usage.ts";

/** `dray plan`, and what a delivery would cost. */
export function addPlan({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("plan"))
    .summary("decide from where each image comes; move nothing")
    .description(
      "Decides from where each image comes, with which credential, where it goes, and why. Moves nothing, needs no network; --estimate asks registries for manifests.",
    )
    .option("--estimate", "say what a delivery would move, how long, and whether there is room")
    .option("-d, --data-dir <folder>", "the store that the estimate is for")
    .addOption(fromOption())
    .option("--rate <bytes/s>", "speed of the link, e.g. 2.5MB or 20Mbit", parseRate)
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray plan -p profile.yaml -u user-data.yaml",
        "dray plan -p infra.json -p apps.json -o json",
        "dray plan -p profile.yaml --estimate -d /var/lib/drayage --rate 20Mbit",
      ),
    )
    .action(async (options) => {
      refuseLoneWords(options);
      if (options.estimate === true) {
        const { runEstimate } = await import("./estimate.ts");
        return finish(await runEstimate(options, context));
      }
      const { runPlan } = await import("./plan.ts");
      finish(await runPlan(options, context));
    });
}

/** `dray explain`. */
export function addExplain({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("explain").argument("<reference>", "the image"))
    .summary("say why an image comes from where it comes")
    .description(
      "Says for one image where it comes from, by which rules, and where it was declared.",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("dray explain quay.io/calico/node:v3.27.0 -p profile.yaml -u user-data.yaml"),
    )
    .action(async (reference, options) => {
      const { runExplain } = await import("./explain.ts");
      finish(await runExplain(reference, options, context));
    });
}

/** `dray deliver`. */
export function addDeliver({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("deliver"))
    .summary("bring every image of the plan into the store and the local registry")
    .description(
      "Carries the plan out once: provider images first, then all others, each verified; application images go on to the local registry, if there is one. Can be run again at any time; what is there moves no byte.",
    )
    .addOption(siteStoreOption())
    .addOption(fromOption())
    .addOption(
      new Option("--until <stage>", "stop after this stage").choices([
        "provider",
        "infrastructure",
      ]),
    )
    .addOption(clusterPlatformOption())
    .option(
      "--wait-for-local <time>",
      "wait so long for the local registry once all is fetched; 0 asks once (default: of the site file, 10m)",
      parseWait,
    )
    .option(
      "--attachments",
      "ask now for the signatures and the like of all images (default: of those that changed, and of all once a day)",
    )
    .option(
      "--again",
      "run the command of provider.handOver again, also for an image that it succeeded for",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray deliver -p profile.yaml -u user-data.yaml -d /var/lib/drayage",
        "dray deliver -p profile.yaml --until provider -o json",
        "dray deliver -p profile.yaml --from /media/stick/store",
      ),
    )
    .action(async (options) => {
      const { runDeliver } = await import("./deliver.ts");
      finish(await runDeliver(options, context));
    });
}

/** `dray publish`. */
export function addPublish({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("publish"))
    .summary("push profiles as one artifact that sites follow")
    .description(
      "Makes one OCI artifact of profiles, their packs and user data, and pushes it; sites follow its tag (profiles: [oci://…]). Plans first, and refuses what holds secrets. The same inputs give the same digest.",
    )
    .requiredOption("--to <reference>", "where: registry/repository:tag")
    .option("--version <version>", "what people call it, e.g. 1.4.0")
    .addOption(
      new Option(
        "--created <time>",
        "when it was made, RFC 3339 (default: SOURCE_DATE_EPOCH, else none)",
      ).argParser(parseTime),
    )
    .option("--dry-run", "say what would be published; push nothing")
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray publish -p infra.yaml -p apps.yaml --to registry.example.com/sites/store:1.4.0 --version 1.4.0",
        "dray publish -p profile.yaml --to registry.example.com/sites/store:stable -s push.yaml --dry-run",
      ),
    )
    .action(async (options) => {
      const { runPublish } = await import("./publish.ts");
      finish(await runPublish(options, context));
    });
}

function refuseLoneWords({
  estimate,
  dataDir,
  from,
  rate,
}: Readonly<Record<string, unknown>>): void {
  if (estimate === true || [dataDir, from, rate].every((word) => word === undefined)) return;
  throw usage(
    "Cannot use --data-dir, --from or --rate for a plan alone: it asks nobody",
    "Add --estimate, or leave them out",
  );
}
