import type { Clock } from "#base";
import type { Access } from "#credential";
import type { HarborClient, HarborProject, HarborRobot, RobotAction } from "./client.ts";
import type { RobotSecrets } from "./ports.ts";
import type { RobotLogin, RobotPurpose, RobotSecret } from "./robot-secrets.ts";

/** An account to be used, and where it comes from. */
export interface HarborAccount {
  readonly access: Access;
  /** Whether it is a robot account made for this, or the credential that was given. */
  readonly isRobot: boolean;
}

/** What the robots of a project need. */
export interface RobotsOptions {
  readonly harbor: HarborClient;
  readonly clientFor: (access: Access) => HarborClient;
  readonly access: Access;
  readonly project: HarborProject;
  readonly secrets: RobotSecrets;
  readonly clock: Clock;
  readonly random: () => number;
  readonly rotateAfterMs: number;
  readonly signal: AbortSignal;
}

/** What the plan's words are for a secret of ours, where an access says where it comes from. */
const ORIGIN = "harbor-robots.json";

/** A robot that somebody gave an end is given none again this long before it. */
const EXPIRES_SOON_MS = 14 * 24 * 3_600_000;

/** Looks at the robot accounts that a project has. */
export async function openRobots(options: RobotsOptions): Promise<Robots> {
  const { harbor, project, signal } = options;
  return new Robots(options, await harbor.robots(project, signal));
}

/**
 * This site's robot accounts at one project. Their names are its own: two sites that shared a robot
 * would renew its secret in turn, each locking the other out.
 *
 * The name is kept before the robot is made, so that after a death in between the same robot is found
 * again and given a new secret, and no other one is left behind.
 */
export class Robots {
  readonly #options: RobotsOptions;
  readonly #there: readonly HarborRobot[];

  constructor(options: RobotsOptions, there: readonly HarborRobot[]) {
    this.#options = options;
    this.#there = there;
  }

  /**
   * The account for a purpose, which has these rights, does not expire soon, and lets us in.
   *
   * @returns undefined when somebody disabled it, which is not ours to undo
   */
  async obtain(
    purpose: RobotPurpose,
    actions: readonly RobotAction[],
  ): Promise<HarborAccount | undefined> {
    const kept = (await this.#find(purpose)) ?? (await this.#reserve(purpose));
    const robot = this.#there.find(({ login }) => login.endsWith(`+${kept.name}`));
    if (robot === undefined) return this.#create(kept, actions);
    if (robot.isDisabled) return undefined;
    await this.#mend(robot, actions);
    const account = kept.login === null ? undefined : this.#accountOf(kept.login);
    const isGood = account !== undefined && !this.#isOld(kept) && (await this.#isLetIn(account));
    if (isGood) return account;
    const secret = await this.#options.harbor.rotateSecret(robot, this.#options.signal);
    return this.#renewed(kept, { username: robot.login, password: secret });
  }

  async #create(kept: RobotSecret, actions: readonly RobotAction[]): Promise<HarborAccount> {
    const { harbor, project, signal } = this.#options;
    const description =
      kept.purpose === "push" ? "dray: pushes the site's images" : "dray: the site's nodes pull";
    const permission = { project: project.name, actions };
    const created = await harbor.createRobot({ name: kept.name, description, permission }, signal);
    return this.#renewed(kept, { username: created.login, password: created.secret });
  }

  async #mend(robot: HarborRobot, actions: readonly RobotAction[]): Promise<void> {
    const { harbor, project, clock, signal } = this.#options;
    const granted = robot.permissions
      .filter((permission) => permission.project === project.name)
      .flatMap((permission) => permission.actions);
    const isExact =
      granted.length === actions.length && actions.every((action) => granted.includes(action));
    const expiresSoon =
      robot.expiresAtMs !== null && robot.expiresAtMs - clock.now() < EXPIRES_SOON_MS;
    if (isExact && !expiresSoon) return;
    await harbor.updateRobot(robot, { project: project.name, actions }, signal);
  }

  /** Also when the clock of this machine was set back, and the age can't be known. */
  #isOld({ madeAtMs }: RobotSecret): boolean {
    const ageMs = this.#options.clock.now() - madeAtMs;
    return ageMs < 0 || ageMs >= this.#options.rotateAfterMs;
  }

  #isLetIn({ access }: HarborAccount): Promise<boolean> {
    return this.#options.clientFor(access).isLetIn(this.#options.signal);
  }

  async #renewed(kept: RobotSecret, login: RobotLogin): Promise<HarborAccount> {
    await this.#keep({ ...kept, login, madeAtMs: this.#options.clock.now() });
    return this.#accountOf(login);
  }

  #accountOf(login: RobotLogin): HarborAccount {
    return accountOf(login, this.#options.access);
  }

  async #find(purpose: RobotPurpose): Promise<RobotSecret | undefined> {
    return (await this.#options.secrets.read()).find((kept) => this.#isFor(kept, purpose));
  }

  #isFor(kept: RobotSecret, purpose: RobotPurpose): boolean {
    const { harbor, project } = this.#options;
    return isKeptFor(kept, { harbor: harbor.address, project: project.name, purpose });
  }

  /** A name, under which the robot will be found again whatever happens. */
  async #reserve(purpose: RobotPurpose): Promise<RobotSecret> {
    const { harbor, project, random, clock } = this.#options;
    const site = Math.floor(random() * 2 ** 40)
      .toString(16)
      .padStart(10, "0");
    const reserved = {
      ...{ harbor: harbor.address, project: project.name, purpose },
      ...{ name: `drayage-${purpose}-${site}`, login: null, madeAtMs: clock.now() },
    };
    await this.#keep(reserved);
    return reserved;
  }

  async #keep(secret: RobotSecret): Promise<void> {
    const { secrets } = this.#options;
    const others = (await secrets.read()).filter((kept) => !this.#isFor(kept, secret.purpose));
    await secrets.write([...others, secret]);
  }
}

/** The accounts of earlier runs that Harbor still lets in, found without anybody who may set it up. */
export interface KeptRobots {
  readonly push: HarborAccount;
  readonly nodes: HarborAccount | null;
}

/** Undefined when there is none to push with, or it is refused too. */
export async function keptRobots(
  { clientFor, access, secrets, signal }: KeptRobotsOptions,
  at: Pick<RobotSecret, "harbor" | "project">,
): Promise<KeptRobots | undefined> {
  const all = await secrets.read();
  const find = async (purpose: RobotPurpose): Promise<HarborAccount | undefined> => {
    const login = all.find((kept) => isKeptFor(kept, { ...at, purpose }))?.login;
    const account = login && accountOf(login, access);
    return account && (await clientFor(account.access).isLetIn(signal)) ? account : undefined;
  };
  const push = await find("push");
  return push && { push, nodes: (await find("nodes")) ?? null };
}

type KeptRobotsOptions = Pick<RobotsOptions, "clientFor" | "access" | "secrets" | "signal">;

function accountOf(
  { username, password }: RobotLogin,
  { insecure, certificates }: Access,
): HarborAccount {
  const credential = { kind: "password", username, password } as const;
  return { access: { origin: ORIGIN, credential, insecure, certificates }, isRobot: true };
}

function isKeptFor(
  kept: RobotSecret,
  { harbor, project, purpose }: Pick<RobotSecret, "harbor" | "project" | "purpose">,
): boolean {
  return kept.harbor === harbor && kept.project === project && kept.purpose === purpose;
}
