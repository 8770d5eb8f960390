import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { FOREIGN_HARBOR_VARIABLE, type ForeignHarbor } from "#test-support/harbor-operator";
import { ROOT } from "./step.ts";

const USAGE = `Runs the Harbor suite against a Harbor of yours. docs/harbor.md says what it touches.

  npm run test:harbor -- --address HOST:PORT --username NAME --password-file FILE
                         [--ca-file FILE] [--project NAME]

The user must be an admin of Harbor. Without --project, one is made and deleted.
Without any option, the suite runs against the stand-in.`;

/** What goes to the suite, or undefined for the stand-in; throws for a wrong use. */
function readOptions(): ForeignHarbor | undefined {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      ...{ address: text, username: text, "password-file": text },
      ...{ "ca-file": text, project: text, help: { type: "boolean" } },
    },
  });
  const { help, address, username, project } = values;
  if (help === true) throw new Error("this is the help");
  if (Object.keys(values).length === 0) return undefined;
  const passwordFile = values["password-file"];
  if (address === undefined || username === undefined || passwordFile === undefined) {
    throw new Error("--address, --username and --password-file go together");
  }
  const caFile = values["ca-file"];
  return {
    ...{ address, username, passwordFile: existing(passwordFile) },
    ...(caFile === undefined ? {} : { caFile: existing(caFile) }),
    ...(project === undefined ? {} : { project }),
  };
}

function existing(path: string): string {
  if (!existsSync(path)) throw new Error(`there is no file ${path}`);
  return resolve(path);
}

async function main(): Promise<number> {
  let harbor: ForeignHarbor | undefined;
  try {
    harbor = readOptions();
  } catch (error) {
    console.error(`${USAGE}\n\n${error instanceof Error ? error.message : error}`);
    return 2;
  }
  const suite = join(ROOT, "test", "real", "harbor.test.ts");
  const tests = Bun.spawn([process.execPath, "test", "--timeout", "120000", suite], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...process.env,
      ...(harbor && { [FOREIGN_HARBOR_VARIABLE]: JSON.stringify(harbor) }),
    },
  });
  return tests.exited;
}

process.exitCode = await main();
