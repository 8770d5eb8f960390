import { readFileSync } from "node:fs";
import { Secret } from "#base";
import type { Access } from "#credential";
import type { Remote } from "#remote";
import { signal } from "./remote-world.ts";

/** A Harbor that somebody else runs, as `npm run test:harbor` is told of it. */
export interface ForeignHarbor {
  readonly address: string;
  readonly username: string;
  readonly passwordFile: string;
  readonly caFile?: string;
  /** A project to work in. One is made, and deleted, without it. */
  readonly project?: string;
}

/** Carries a {@link ForeignHarbor} to the suite as JSON; never a password. */
export const FOREIGN_HARBOR_VARIABLE = "DRAYAGE_HARBOR";

/** The Harbor that the environment names, or undefined. */
export function foreignHarbor(): ForeignHarbor | undefined {
  const text = process.env[FOREIGN_HARBOR_VARIABLE];
  return text === undefined ? undefined : JSON.parse(text);
}

/** The access of who runs the suite. */
export function foreignAccess({ username, passwordFile, caFile }: ForeignHarbor): Access {
  const password = new Secret(readFileSync(passwordFile, "utf8").replace(/\r?\n$/, ""));
  return {
    origin: "--username and --password-file",
    credential: { kind: "password", username, password },
    insecure: false,
    certificates: caFile === undefined ? [] : [readFileSync(caFile, "utf8")],
  };
}

/** What an operator of Harbor does between two deliveries, by its REST API. */
export class HarborOperator {
  readonly #remote: Remote;
  readonly #address: string;
  readonly #access: Access;

  constructor(remote: Remote, address: string, access: Access) {
    this.#remote = remote;
    this.#address = address;
    this.#access = access;
  }

  /** -1 without a limit. */
  async quotaOf(project: number): Promise<number> {
    return Object((await this.#quota(project)).hard).storage;
  }

  async usedBytes(project: number): Promise<number> {
    return Object((await this.#quota(project)).used).storage;
  }

  async setQuota(project: number, bytes: number): Promise<void> {
    const { id } = await this.#quota(project);
    await this.#ask("PUT", `/quotas/${id}`, { hard: { storage: bytes } });
  }

  async addImmutableRule(project: number, repository: string, tag: string): Promise<void> {
    await this.#ask("POST", `/projects/${project}/immutabletagrules`, {
      ...{ disabled: false, action: "immutable", template: "immutable_template" },
      tag_selectors: [{ kind: "doublestar", decoration: "matches", pattern: tag }],
      scope_selectors: {
        repository: [{ kind: "doublestar", decoration: "repoMatches", pattern: repository }],
      },
    });
  }

  /** Removes the rules about a repository. */
  async removeImmutableRules(project: number, repository: string): Promise<void> {
    const rules = await this.#ask("GET", `/projects/${project}/immutabletagrules`);
    for (const rule of Array.isArray(rules) ? rules : []) {
      if (Object(rule).scope_selectors?.repository?.[0]?.pattern !== repository) continue;
      await this.#ask("DELETE", `/projects/${project}/immutabletagrules/${Object(rule).id}`);
    }
  }

  /** Removes repositories of a project whose names within it begin so, and all that is in them. */
  async removeRepositories(project: string, start: string): Promise<void> {
    const found = await this.#ask("GET", `/projects/${project}/repositories?page_size=100`);
    for (const repository of Array.isArray(found) ? found : []) {
      const name = String(Object(repository).name).slice(project.length + 1);
      if (!name.startsWith(start)) continue;
      // A slash in a name is encoded twice in Harbor's paths.
      const encoded = encodeURIComponent(encodeURIComponent(name));
      await this.#ask("DELETE", `/projects/${project}/repositories/${encoded}`);
    }
  }

  async removeRobot(robot: number): Promise<void> {
    await this.#ask("DELETE", `/robots/${robot}`);
  }

  async removeProject(project: number): Promise<void> {
    await this.#ask("DELETE", `/projects/${project}`);
  }

  async #quota(project: number): Promise<{ id?: unknown; hard?: unknown; used?: unknown }> {
    const found = await this.#ask("GET", `/quotas?reference=project&reference_id=${project}`);
    return Object(Array.isArray(found) ? found[0] : undefined);
  }

  async #ask(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: object) {
    const answer = await this.#remote.api(this.#address, this.#access).request({
      ...{ method, path: `/api/v2.0${path}`, task: `${method} ${path}`, signal },
      ...(body === undefined ? {} : { body }),
    });
    if (answer.status < 300) return answer.body;
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
}
