import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { testCertificates } from "./certificates.ts";
import { type ServingProgram, startRegistryProgram } from "./serving-program.ts";

/** Who may push to a {@link startGuardedRegistry guarded registry}, and who may only pull. */
export const PUSHER = { username: "ci", password: "p ush" };
export const PULLER = { username: "node", password: 'pu"ll' };

/**
 * `dray registry serve` as other machines would reach it: with the server certificate of the tests, and
 * users. Its files lie in `folder`, its store in `data` below that.
 */
export async function startGuardedRegistry(folder: string): Promise<ServingProgram> {
  const { server } = testCertificates();
  const htpasswd = join(folder, "users");
  const lines = [PUSHER, PULLER].map(({ username, password }) => {
    const hash = Bun.password.hashSync(password, { algorithm: "bcrypt", cost: 4 });
    return `${username}:${hash}\n`;
  });
  await writeFile(htpasswd, lines.join(""));
  return startRegistryProgram(join(folder, "data"), [
    ...[`--tls-cert=${server.certificatePath}`, `--tls-key=${server.keyPath}`],
    ...[`--htpasswd=${htpasswd}`, `--pushers=${PUSHER.username}`],
  ]);
}
