import { Argument, Option } from "commander";
import {
  type CommandLine,
  clusterPlatformOption,
  configDirOption,
  containerdConfigOption,
  embeddedOption,
  examples,
  outputOption,
  siteStoreOption,
} from "./command-options.ts";
import { parsePercent } from "./option-values.ts";
import { addPlanOptions } from "./plan-options.ts";

/** `dray credentials`. */
export function addCredentials({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("credentials"))
    .summary("try every credential, and say what will end and when")
    .description(
      "Tries every credential of the plan once, by asking for an image that needs it, and reads when certificates and tokens end. Moves nothing. Exit code 3 when one is refused or has expired.",
    )
    .option(
      "-d, --data-dir <folder>",
      "the store, for Harbor's robot accounts (default: dataDir of the site file, /var/lib/drayage)",
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray credentials -p profile.yaml -u user-data.yaml -s site.yaml",
        "dray credentials -p profile.yaml -o json",
      ),
    )
    .action(async (options) => {
      const { runCredentials } = await import("./credentials.ts");
      finish(await runCredentials(options, context));
    });
}

/** `dray prove`. */
export function addProve({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("prove"))
    .summary("say whether the site is ready offline, reference by reference")
    .description(
      "Asks the site's registries for every reference of the plan as the runtime would, and nobody outside of the site: all manifests, every blob, and some of the bytes really. Changes nothing. Exit code 3 when something is wanting.",
    )
    .addOption(siteStoreOption())
    .option("--full", "read and hash every blob")
    .addOption(
      new Option("--sample <percent>", "read and hash so many of the blobs, always the same")
        .argParser(parsePercent)
        .conflicts("full"),
    )
    .addOption(clusterPlatformOption())
    .addOption(
      new Option("--runtime <kind>", "whose files are followed (default: runtime.kind)").choices([
        "none",
        "containerd",
        "k3s",
        "rke2",
      ]),
    )
    .addOption(configDirOption())
    .addOption(containerdConfigOption("containerd's own configuration"))
    .option("--socket <path>", "where the runtime takes requests (default: runtime.socket)")
    .addOption(embeddedOption())
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray prove -p profile.yaml -s site.yaml",
        "dray prove -p profile.yaml -s site.yaml --full -o json",
      ),
    )
    .action(async (options) => {
      const { runProve } = await import("./prove.ts");
      finish(await runProve(options, context));
    });
}

/** `dray doctor`. */
export function addDoctor({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("doctor"))
    .summary("examine the surroundings: clock, disk, network, certificates, runtime")
    .description(
      "Examines what dray lives by: clock, disk, limits, ports, proxy, and with a profile also names, certificates, registries and credentials. Changes nothing. Exit code 3 when something is wrong.",
    )
    .addOption(siteStoreOption())
    .addOption(containerdConfigOption("containerd's own configuration"))
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("dray doctor", "dray doctor -p profile.yaml -s site.yaml -o json"),
    )
    .action(async (options) => {
      const { runDoctor } = await import("./doctor.ts");
      finish(await runDoctor(options, context));
    });
}

/** `dray redirect`. */
export function addRedirect({ program, context, finish }: CommandLine): void {
  addPlanOptions(program.command("redirect"))
    .summary("tell a runtime to ask the site's registries for images")
    .description(
      "Writes the mirror configuration of a runtime: for each registry of the profile the local registry, then the embedded one, the registry itself as the last resort. What people wrote in the files stays; ours is marked.",
    )
    .addArgument(
      new Argument("<runtime>", "whose files are written").choices(["containerd", "k3s", "rke2"]),
    )
    .addOption(configDirOption())
    .option("--dry-run", "print what would change as a diff; write nothing")
    .option("--remove", "take out what is ours, and leave what was there before")
    .addOption(
      new Option("--via <registries>", "the site's registries, or the external one (k3s, rke2)")
        .choices(["site", "external"])
        .default("site"),
    )
    .addOption(embeddedOption())
    .option("--embedded-ca <file>", "authority of its certificate, PEM")
    .option("--embedded-user <name>", "what nodes log in to it with")
    .option("--embedded-password-file <file>", "the password, on its first line")
    .option("-d, --data-dir <folder>", "where a delivery keeps the nodes' account at a Harbor")
    .addOption(
      containerdConfigOption("containerd's own configuration, which is read and not written"),
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray redirect containerd -p profile.yaml --dry-run",
        "dray redirect rke2 -p profile.yaml -s site.yaml",
        "dray redirect k3s --remove",
      ),
    )
    .action(async (runtime, options) => {
      const { runRedirect } = await import("./redirect.ts");
      finish(await runRedirect(runtime, options, context));
    });
}
