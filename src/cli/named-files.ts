import { quoted, Secret } from "#base";
import { isProblem } from "#profile";
import type { CliContext } from "./context.ts";
import { usage } from "./usage.ts";

/**
 * The text of a file that was named on the command line.
 *
 * @param what the file is for, as messages say it: `the password file`
 * @throws {Failure} `usage`
 */
export function readNamedFile(
  file: string,
  what: string,
  { files }: Pick<CliContext, "files">,
): string {
  const bytes = files.read(file);
  if (!isProblem(bytes)) return new TextDecoder().decode(bytes);
  throw usage(
    `Cannot read ${what} ${quoted(file)}: ${bytes.message}`,
    "Check the name, and that this user may read the file",
  );
}

/** The password on the first line of a file. @throws {Failure} `usage` */
export function readPasswordFile(file: string, context: Pick<CliContext, "files">): Secret {
  const [password = ""] = readNamedFile(file, "the password file", context).split(/\r?\n/);
  if (password !== "") return new Secret(password);
  throw usage(
    `Cannot use the password file ${quoted(file)}: it is empty`,
    "Write the password on its first line",
  );
}
