import { type Command, Option } from "commander";
import type { CliContext, ExitCode } from "./context.ts";
import { append } from "./option-values.ts";

/** What a command is added to. */
export interface CommandLine {
  readonly program: Command;
  readonly context: CliContext;
  /** Takes the exit code of the command that was called. */
  readonly finish: (code: ExitCode) => void;
}

/** The form of a command's answer. */
export function outputOption(): Option {
  return new Option("-o, --output <format>", "form of the answer")
    .choices(["text", "json"])
    .default("text");
}

/** The store of commands that know nothing of a site. */
export function storeOption(): Option {
  return new Option("-d, --data-dir <folder>", "the store").default("/var/lib/drayage");
}

/** The store of commands that read a site file, in place of the one that it names. */
export function siteStoreOption(): Option {
  return new Option(
    "-d, --data-dir <folder>",
    "the store (default: dataDir of the site file, /var/lib/drayage)",
  );
}

/** Folders that content is taken from before the link is asked. */
export function fromOption(): Option {
  const text = "take what this OCI layout holds (a stick, a disk); may be repeated";
  return new Option("--from <folder>", text).argParser(append);
}

/** The machines that a plan is for. */
export function clusterPlatformOption(): Option {
  return new Option(
    "--platform <os/architecture>",
    "platform of the cluster (default: of the site file, this machine's)",
  );
}

/** The platform of one image of the store. */
export function imagePlatformOption(): Option {
  return new Option("--platform <os/architecture>", "of the image (default: this machine's)");
}

/** The folder in which a runtime's mirrors are. */
export function configDirOption(): Option {
  return new Option(
    "--config-dir <folder>",
    "where the runtime looks for mirrors (default: the runtime's)",
  );
}

/** containerd's own file, with what the command does with it. */
export function containerdConfigOption(text: string): Option {
  return new Option("--containerd-config <file>", text).default("/etc/containerd/config.toml");
}

/** The address of the embedded registry. */
export function embeddedOption(): Option {
  return new Option(
    "--embedded <url>",
    "the embedded registry as nodes dial it (default: as the site file says)",
  );
}

/** Lines for the end of a command's help. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}\n`).join("")}`;
}
