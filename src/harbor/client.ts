import { Failure, printable, quoted, Secret } from "#base";
import type { Access } from "#credential";
import { type ImmutableRule, type RetentionPolicy, readSelectors } from "./policy.ts";
import type { HarborApi, HarborApiAnswer, HarborApiRequest } from "./ports.ts";
import { isObject, protocolFailure, type ReadContext, Reader, readList } from "./reader.ts";

/** How Harbor is, by its own account. */
export interface HarborHealth {
  /** The parts of it that are not well: `database`, `redis`, `jobservice`. */
  readonly unhealthy: readonly string[];
}

/** What Harbor says of itself. */
export interface HarborInfo {
  /** Null when it does not tell it to this user. */
  readonly version: HarborVersion | null;
  /** Nothing can be pushed or changed until an admin ends it. */
  readonly isReadOnly: boolean;
}

/** `v2.5.3-797c00bc` */
export interface HarborVersion {
  readonly major: number;
  readonly minor: number;
  readonly text: string;
}

/** A project, which is the first segment of its repositories' names. */
export interface HarborProject {
  readonly id: number;
  readonly name: string;
  /** Anybody may pull. */
  readonly isPublic: boolean;
  readonly retentionId: number | null;
}

/** The storage that a project may use and uses, in bytes. */
export interface HarborQuota {
  /** Null without a limit. */
  readonly limitBytes: number | null;
  readonly usedBytes: number;
}

/** What a robot account may do with the repositories of one project. */
export interface RobotPermission {
  readonly project: string;
  readonly actions: readonly RobotAction[];
}

/** What can be done with a repository. */
export type RobotAction = "pull" | "push";

/** A robot account of a project (Harbor 2.2 and later). */
export interface HarborRobot {
  readonly id: number;
  /** What it logs in with: `robot$spectro-images+drayage-push-1f`; the prefix is a setting of Harbor. */
  readonly login: string;
  readonly isDisabled: boolean;
  /** Milliseconds since 1970; null: never. */
  readonly expiresAtMs: number | null;
  readonly permissions: readonly RobotPermission[];
}

/** A robot account that was just made. */
export interface CreatedRobot {
  readonly login: string;
  readonly secret: Secret;
}

const API = "/api/v2.0";

/** The most that Harbor gives in one answer. */
const PAGE_SIZE = 100;

/** A project with more robots, or as many with a similar name, is none that we work in. */
const PAGES_MAX = 50;

/** In days, as Harbor counts: never. A site may be offline for longer than any date would allow. */
const NEVER = -1;

/**
 * Harbor's REST API 2.0, as far as we need it, with one credential.
 *
 * Every method throws `registry-unauthorized` when the credential is refused, `harbor-denied` when it
 * is good and does not suffice, `harbor-protocol` for an answer that is not Harbor's, and transient
 * Failures when Harbor is not there or not yet.
 */
export class HarborClient {
  readonly #api: HarborApi;
  readonly #origin: string | null;

  /** @param access whose credential `api` sends; for messages */
  constructor(api: HarborApi, { origin }: Pick<Access, "origin">) {
    this.#api = api;
    this.#origin = origin;
  }

  /** `host:port`. */
  get address(): string {
    return this.#api.address;
  }

  /** Asks for nobody's rights. */
  async health(signal: AbortSignal): Promise<HarborHealth> {
    const task = "read the health of Harbor";
    const answer = await this.#send({ method: "GET", path: `${API}/health`, task, signal });
    if (answer.status === 404) throw this.#absent(task, answer);
    const health = new Reader(this.#expect(answer, [200], task), this.#context(task));
    const components = health
      .list("components")
      .filter((c) => c.optionalText("status") !== "healthy");
    return { unhealthy: components.map((c) => printable(c.text("name"), 60)) };
  }

  /**
   * Whether the credential is good, by the way of `docker login`: also robots and users of an
   * identity provider pass there.
   */
  async isLetIn(signal: AbortSignal): Promise<boolean> {
    const task = "log in to Harbor";
    const answer = await this.#send({ method: "GET", path: "/v2/", task, signal });
    if (answer.status === 401) return false;
    this.#expect(answer, [200], task);
    return true;
  }

  async info(signal: AbortSignal): Promise<HarborInfo> {
    const info = await this.#read("/systeminfo", "read what Harbor says of itself", signal);
    return {
      version: parseVersion(info.optionalText("harbor_version")),
      isReadOnly: info.flag("read_only"),
    };
  }

  /** Bytes that are free where Harbor's core sees its storage; null when it does not say. */
  async freeBytes(signal: AbortSignal): Promise<number | null> {
    const info = await this.#read("/systeminfo/volumes", "read the free storage of Harbor", signal);
    // A list since 2.1, one object before.
    const storage = info.optionalObject("storage") ?? info.list("storage")[0];
    const isKnown = (storage?.optionalNumber("total") ?? 0) > 0;
    return isKnown ? (storage?.optionalNumber("free") ?? null) : null;
  }

  /** Undefined when there is none, or none that this user may see. */
  async project(name: string, signal: AbortSignal): Promise<HarborProject | undefined> {
    // By its list, because Harbor 2.0 and 2.1 find a single one only by number.
    const path = `/projects?name=${encodeURIComponent(name)}`;
    const task = `find the project ${quoted(name)}`;
    for await (const project of this.#pages(path, task, signal)) {
      if (project.text("name") === name) return readProject(project);
    }
    return undefined;
  }

  /** @returns false when there is one of that name already */
  async createProject(
    { name, isPublic }: Pick<HarborProject, "name" | "isPublic">,
    signal: AbortSignal,
  ): Promise<boolean> {
    const task = `create the project ${quoted(name)}`;
    const body = { project_name: name, metadata: { public: String(isPublic) } };
    const answer = await this.#send({
      method: "POST",
      path: `${API}/projects`,
      body,
      task,
      signal,
    });
    if (answer.status === 409) return false;
    this.#expect(answer, [201], task);
    return true;
  }

  /** The way of admins, or that of members where it is not allowed; undefined when Harbor keeps none. */
  async quota({ id }: HarborProject, signal: AbortSignal): Promise<HarborQuota | undefined> {
    const task = "read the quota of the project";
    const path = `${API}/quotas?reference=project&reference_id=${id}`;
    const answer = await this.#send({ method: "GET", path, task, signal });
    if (answer.status !== 403) {
      const [quota] = readList(this.#expect(answer, [200], task), this.#context(task));
      return quota && readQuota(quota);
    }
    const summary = await this.#read(`/projects/${id}/summary`, task, signal);
    const quota = summary.optionalObject("quota");
    return quota === null ? undefined : readQuota(quota);
  }

  async immutableRules(
    { id }: HarborProject,
    signal: AbortSignal,
  ): Promise<readonly ImmutableRule[]> {
    const rules: ImmutableRule[] = [];
    const task = "read the immutable-tag rules of the project";
    for await (const rule of this.#pages(`/projects/${id}/immutabletagrules`, task, signal)) {
      if (!rule.flag("disabled")) rules.push({ id: rule.number("id"), ...readSelectors(rule) });
    }
    return rules;
  }

  /** Undefined when the project has none. */
  async retention(
    { retentionId }: HarborProject,
    signal: AbortSignal,
  ): Promise<RetentionPolicy | undefined> {
    if (retentionId === null) return undefined;
    const path = `/retentions/${retentionId}`;
    const policy = await this.#read(path, "read the retention policy of the project", signal);
    return readRetention(policy, retentionId);
  }

  async robots({ id }: HarborProject, signal: AbortSignal): Promise<readonly HarborRobot[]> {
    const robots: HarborRobot[] = [];
    const query = encodeURIComponent(`Level=project,ProjectID=${id}`);
    const task = "list the robot accounts of the project";
    for await (const robot of this.#pages(`/robots?q=${query}`, task, signal)) {
      robots.push(readRobot(robot));
    }
    return robots;
  }

  /** Makes a robot of the project, which never expires; Harbor chooses its secret and shows it once. */
  async createRobot(
    { name, description, permission }: NewRobot,
    signal: AbortSignal,
  ): Promise<CreatedRobot> {
    const task = `create the robot account ${quoted(name)}`;
    const body = {
      ...{ name, description, disable: false, level: "project", duration: NEVER },
      permissions: [formatPermission(permission)],
    };
    const answer = await this.#send({ method: "POST", path: `${API}/robots`, body, task, signal });
    const robot = new Reader(this.#expect(answer, [201], task), this.#context(task));
    return { login: robot.text("name"), secret: new Secret(robot.text("secret")) };
  }

  /** Gives a robot these rights and no others, and no end. */
  async updateRobot(
    { id, login, isDisabled }: HarborRobot,
    permission: RobotPermission,
    signal: AbortSignal,
  ): Promise<void> {
    const task = `update the robot account ${quoted(login)}`;
    const body = {
      ...{ id, name: login, disable: isDisabled, level: "project", duration: NEVER },
      permissions: [formatPermission(permission)],
    };
    const path = `${API}/robots/${id}`;
    this.#expect(await this.#send({ method: "PUT", path, body, task, signal }), [200], task);
  }

  /** Gives a robot another secret, of Harbor's choice. The one before is refused from then on. */
  async rotateSecret({ id, login }: HarborRobot, signal: AbortSignal): Promise<Secret> {
    const task = `renew the secret of the robot account ${quoted(login)}`;
    const path = `${API}/robots/${id}`;
    const answer = await this.#send({ method: "PATCH", path, body: {}, task, signal });
    const changed = new Reader(this.#expect(answer, [200], task), this.#context(task));
    return new Secret(changed.text("secret"));
  }

  #context(task: string): ReadContext {
    return { harbor: this.address, task };
  }

  #send(request: HarborApiRequest): Promise<HarborApiAnswer> {
    return this.#api.request(request);
  }

  async #read(path: string, task: string, signal: AbortSignal): Promise<Reader> {
    const answer = await this.#send({ method: "GET", path: `${API}${path}`, task, signal });
    return new Reader(this.#expect(answer, [200], task), this.#context(task));
  }

  async *#pages(path: string, task: string, signal: AbortSignal): AsyncGenerator<Reader> {
    const mark = path.includes("?") ? "&" : "?";
    for (let page = 1; page <= PAGES_MAX; page += 1) {
      const query = `${mark}page=${page}&page_size=${PAGE_SIZE}`;
      const answer = await this.#send({
        method: "GET",
        path: `${API}${path}${query}`,
        task,
        signal,
      });
      const items = readList(this.#expect(answer, [200], task), this.#context(task));
      yield* items;
      if (items.length < PAGE_SIZE) return;
    }
  }

  /** The body of an answer of one of these statuses. */
  #expect(answer: HarborApiAnswer, statuses: readonly number[], task: string): unknown {
    const { status, body } = answer;
    if (statuses.includes(status)) return body;
    const found = `${this.address} answered ${status}${wordsOf(body)}`;
    const cannot = (code: string, hint: string) =>
      new Failure({ code, hint, message: `Cannot ${task}: ${found}, expected ${statuses[0]}` });
    const whose = this.#origin === null ? "no credential was given" : printable(this.#origin);
    if (status === 401) {
      throw cannot("registry-unauthorized", `Check user and password for Harbor (${whose})`);
    }
    if (status === 403) {
      throw cannot(
        "harbor-denied",
        `Give the user (${whose}) this right, or give an admin's credential`,
      );
    }
    throw protocolFailure(
      this.#context(task),
      `status ${status}${wordsOf(body)}`,
      `${statuses[0]}`,
    );
  }

  /** A cluster's ingress answers so while Harbor is being installed, and any other registry does for good. */
  #absent(task: string, { body }: HarborApiAnswer): Failure {
    return new Failure({
      code: "harbor-absent",
      message: `Cannot ${task}: ${this.address} has no API of Harbor 2 (404${wordsOf(body)}), expected one`,
      hint: "Wait until Harbor is installed; for another registry, or Harbor 1, write `kind: oci`",
      transient: true,
    });
  }
}

/** A robot account to be made. */
export interface NewRobot {
  /** Lower-case letters, digits, and `.`, `_`, `-` between them. */
  readonly name: string;
  readonly description: string;
  readonly permission: RobotPermission;
}

/** Harbor's own words in parentheses: `{"errors":[{"code":"FORBIDDEN","message":"…"}]}`. */
function wordsOf(body: unknown): string {
  const errors = isObject(body) ? body["errors"] : undefined;
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const message = isObject(first) ? first["message"] : undefined;
  return typeof message === "string" && message !== "" ? ` (${quoted(message)})` : "";
}

function parseVersion(text: string | null): HarborVersion | null {
  const [, major, minor] = /^v?([0-9]{1,4})\.([0-9]{1,4})(?![0-9])/.exec(text ?? "") ?? [];
  if (text === null || major === undefined) return null;
  return { major: Number(major), minor: Number(minor), text: printable(text, 60) };
}

function readProject(project: Reader): HarborProject {
  const metadata = project.optionalObject("metadata");
  const retention = Number(metadata?.optionalText("retention_id") ?? Number.NaN);
  return {
    id: project.number("project_id"),
    name: project.text("name"),
    isPublic: metadata?.flag("public") ?? false,
    retentionId: Number.isSafeInteger(retention) && retention > 0 ? retention : null,
  };
}

function readQuota(quota: Reader): HarborQuota {
  const limit = quota.optionalObject("hard")?.optionalNumber("storage") ?? NO_LIMIT;
  return {
    limitBytes: limit < 0 ? null : limit,
    usedBytes: quota.optionalObject("used")?.optionalNumber("storage") ?? 0,
  };
}

const NO_LIMIT = -1;

function readRetention(policy: Reader, id: number): RetentionPolicy {
  const rules = policy.list("rules").filter((rule) => !rule.flag("disabled"));
  const settings = policy.optionalObject("trigger")?.optionalObject("settings");
  return {
    id,
    isScheduled: (settings?.optionalText("cron") ?? null) !== null,
    rules: rules.map((rule) => {
      const template = rule.optionalText("template") ?? "";
      const count = rule.optionalObject("params")?.optionalNumber(template) ?? null;
      return { id: rule.optionalNumber("id") ?? 0, template, count, ...readSelectors(rule) };
    }),
  };
}

function readRobot(robot: Reader): HarborRobot {
  const expires = robot.optionalNumber("expires_at") ?? NEVER;
  return {
    id: robot.number("id"),
    login: robot.text("name"),
    isDisabled: robot.flag("disable"),
    expiresAtMs: expires <= 0 ? null : expires * 1000,
    permissions: robot.list("permissions").map((permission) => ({
      project: permission.optionalText("namespace") ?? "",
      actions: permission.list("access").flatMap(readAction),
    })),
  };
}

function readAction(access: Reader): readonly RobotAction[] {
  if (access.optionalText("resource") !== "repository") return [];
  if (access.optionalText("effect") === "deny") return [];
  const action = access.optionalText("action");
  return action === "pull" || action === "push" ? [action] : [];
}

function formatPermission({ project, actions }: RobotPermission): object {
  return {
    kind: "project",
    namespace: project,
    access: actions.map((action) => ({ resource: "repository", action })),
  };
}
