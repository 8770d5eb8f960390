import { Option } from "commander";
import {
  type CommandLine,
  examples,
  imagePlatformOption,
  outputOption,
  storeOption,
} from "./command-options.ts";
import { append, parseGrace, parsePercent, parseRate, parseSize } from "./option-values.ts";

/** `dray registry serve`. */
export function addRegistry({ program, context, finish }: CommandLine): void {
  const registry = program
    .command("registry")
    .summary("the embedded registry")
    .description("The embedded registry, which serves from the store.");
  registry
    .command("serve")
    .summary("serve the store to the cluster, and take what is pushed")
    .description(
      "Serves the store as a registry until it is stopped: what was delivered, and what is pushed. Off loopback it wants TLS and users. All users may pull; all of them, or the --pushers, may push and delete.",
    )
    .option("-d, --data-dir <folder>", "the store, made if it is not there", "/var/lib/drayage")
    .option("-l, --listen <host:port>", "where to listen", "127.0.0.1:5055")
    .option("--read-only", "take nothing; the store must be there")
    .option("--no-delete", "let nobody delete")
    .option("--catalog", "list the repositories at /v2/_catalog")
    .option("--htpasswd <file>", "users, with bcrypt passwords (htpasswd -B); read again on change")
    .option("--pushers <users>", "the users that may push and delete: a,b (default: all)", append)
    .option("--anonymous-pull", "let pull who has not logged in (docker itself can then pull only)")
    .option("--tls-cert <file>", "certificate with its chain, PEM; read again on change")
    .option("--tls-key <file>", "its key, PEM")
    .option("--rate-limit <n>", "requests a second of another machine; 0: no limit (default: 500)")
    .option("--upload-age <hours>", "remove uploads that were idle for so long (default: 24)")
    .option("--access-log", "a JSON line on stdout for each request")
    .addHelpText(
      "after",
      examples(
        "dray registry serve -d /var/lib/drayage",
        "dray registry serve -d store -l 10.0.0.5:5055 --htpasswd users --pushers ci --tls-cert cert.pem --tls-key key.pem",
      ),
    )
    .action(async (options) => {
      const { runRegistryServe } = await import("./registry.ts");
      finish(await runRegistryServe(options, context));
    });
}

/** `dray verify`. */
export function addVerify({ program, context, finish }: CommandLine): void {
  program
    .command("verify")
    .summary("hash what the store has anew, and move away what is wrong")
    .description(
      "Hashes the blobs of the store anew, moves what is wrong to quarantine, and says what to do. Exit code 3 when something was wrong. A delivery or the registry may run meanwhile.",
    )
    .addOption(storeOption())
    .addOption(
      new Option("--sample <percent>", "only so many of the blobs, picked by chance")
        .argParser(parsePercent)
        .conflicts("sinceUnclean"),
    )
    .option("--seed <text>", "the chance of an earlier --sample, to look at the same blobs again")
    .option("--since-unclean", "only what was committed since the last unclean stop")
    .option("--rate <bytes/s>", "read no faster, e.g. 50MB", parseRate)
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("dray verify -d /var/lib/drayage", "dray verify --sample 5 --rate 50MB -o json"),
    )
    .action(async (options) => {
      const { runVerify } = await import("./verify.ts");
      finish(await runVerify(options, context));
    });
}

/** `dray gc`. */
export function addGc({ program, context, finish }: CommandLine): void {
  program
    .command("gc")
    .summary("remove what nothing needs any more")
    .description(
      "Removes the blobs that no name and no manifest leads to, and the names that neither the current nor the previous plan declares. Nothing is removed when a document that is named can't be read. A delivery or the registry may run meanwhile.",
    )
    .addOption(storeOption())
    .option("--dry-run", "say what would be removed; change nothing")
    .addOption(
      new Option("--grace <time>", "keep what was committed, pushed or asked for so lately")
        .argParser(parseGrace)
        .default(undefined, "1h"),
    )
    .addOption(outputOption())
    .addHelpText("after", examples("dray gc --dry-run", "dray gc -d /var/lib/drayage --grace 15m"))
    .action(async (options) => {
      const { runGc } = await import("./gc.ts");
      finish(await runGc(options, context));
    });
}

/** `dray unpack`. */
export function addUnpack({ program, context, finish }: CommandLine): void {
  program
    .command("unpack")
    .summary("unpack an image of the store to a root file system")
    .description(
      "Unpacks an image of the store, by its declared name, to a folder: owners, modes, times, attributes, links, devices. The folder must not be there, or be empty; it is there whole or not at all.",
    )
    .argument("<reference>", "the image")
    .argument("<folder>", "where")
    .addOption(storeOption())
    .addOption(imagePlatformOption())
    .option(
      "--rootless",
      "go without owners, devices and attributes of root's; say what is left out",
    )
    .option(
      "--max-size <bytes>",
      "refuse more than this, e.g. 20GB (default: room on disk)",
      parseSize,
    )
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("dray unpack quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1 /run/os-root"),
    )
    .action(async (reference, folder, options) => {
      const { runUnpack } = await import("./unpack.ts");
      finish(await runUnpack(reference, folder, options, context));
    });
}

/** `dray export`. */
export function addExport({ program, context, finish }: CommandLine): void {
  program
    .command("export")
    .summary("write an image of the store as an OCI layout or archive")
    .description(
      "Writes one platform of an image of the store to oci:FOLDER (blobs are hard links where the disk allows it) or oci-archive:FILE (which is also what `docker load` and `kairos-agent --source ocifile:` read).",
    )
    .argument("<reference>", "the image")
    .requiredOption("--to <target>", "oci:FOLDER or oci-archive:FILE")
    .addOption(storeOption())
    .addOption(imagePlatformOption())
    .option("--copy", "copy blobs into the folder, and share none with the store")
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "dray export quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1 --to oci-archive:os.tar",
      ),
    )
    .action(async (reference, options) => {
      const { runExport } = await import("./export.ts");
      finish(await runExport(reference, options, context));
    });
}
