import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Failure, isFailure } from "#base";
import { type HarborApiRequest, HarborClient } from "#harbor";
import { FUZZ_RUNS } from "#test-support/fuzz";

const signal = new AbortController().signal;
const project = { id: 7, name: "site", isPublic: false, retentionId: 3 };
const robot = {
  id: 1,
  login: "robot$site+r",
  isDisabled: false,
  expiresAtMs: null,
  permissions: [],
};
const permission = { project: "site", actions: ["pull"] } as const;

/** A client to whom everything is answered so. */
function answering(status: number, body: unknown): HarborClient {
  return clientOf(() => ({ status, body }));
}

function clientOf(answer: (request: HarborApiRequest) => { status: number; body: unknown }) {
  const api = { address: "harbor.test", request: async (r: HarborApiRequest) => answer(r) };
  return new HarborClient(api, { origin: "site:localRegistry" });
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const thrown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!isFailure(thrown)) throw new Error("It did not fail", { cause: thrown });
  return thrown;
}

/** Everything that it can be asked. */
const CALLS: Readonly<Record<string, (client: HarborClient) => Promise<unknown>>> = {
  health: (client) => client.health(signal),
  isLetIn: (client) => client.isLetIn(signal),
  info: (client) => client.info(signal),
  freeBytes: (client) => client.freeBytes(signal),
  project: (client) => client.project("site", signal),
  createProject: (client) => client.createProject(project, signal),
  quota: (client) => client.quota(project, signal),
  immutableRules: (client) => client.immutableRules(project, signal),
  retention: (client) => client.retention(project, signal),
  robots: (client) => client.robots(project, signal),
  createRobot: (client) => client.createRobot({ name: "r", description: "", permission }, signal),
  updateRobot: (client) => client.updateRobot(robot, permission, signal),
  rotateSecret: (client) => client.rotateSecret(robot, signal),
};

describe.each(Object.entries(CALLS))("%s", (_, call) => {
  test("whatever is answered, it is read or a Failure", () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(200, 201, 301, 400, 401, 403, 404, 409, 412),
        fc.jsonValue(),
        async (status, body) => {
          await call(answering(status, body)).catch((error: unknown) => {
            if (!isFailure(error)) throw error;
            expect(error.message).toMatch(/^Cannot .+, expected .+$/s);
          });
        },
      ),
      { numRuns: Math.min(FUZZ_RUNS, 300) },
    ));
});

test("lists are read to their end, however many pages they have", async () => {
  const all = Array.from({ length: 205 }, (_, i) => ({ id: i, name: `robot$site+r${i}` }));
  const client = clientOf(({ path }) => {
    const { searchParams } = new URL(path, "https://harbor.test");
    const [page, size] = ["page", "page_size"].map((name) => Number(searchParams.get(name)));
    const start = ((page ?? 1) - 1) * (size ?? 10);
    return { status: 200, body: all.slice(start, start + (size ?? 10)) };
  });
  expect((await client.robots(project, signal)).map(({ id }) => id)).toEqual(
    all.map(({ id }) => id),
  );
});

test("a project is the one of that very name, of those whose names are like it", async () => {
  const named = (id: number, name: string) => ({ project_id: id, name, metadata: null });
  const client = answering(200, [named(1, "site-2"), named(2, "my-site"), named(3, "site")]);
  expect(await client.project("site", signal)).toEqual({
    ...{ id: 3, name: "site", isPublic: false, retentionId: null },
  });
  expect(await answering(200, [named(1, "site-2")]).project("site", signal)).toBeUndefined();
});

test("what is new or left out is passed over; lists that are null are empty", async () => {
  expect(await answering(200, { components: null, news: 1 }).health(signal)).toEqual({
    ...{ unhealthy: [] },
  });
  expect(await answering(200, {}).info(signal)).toEqual({ version: null, isReadOnly: false });
  expect(await answering(200, null).immutableRules(project, signal)).toEqual([]);
  expect(await answering(200, { storage: { total: 9, free: 4 } }).freeBytes(signal)).toBe(4);
  expect(await answering(200, { storage: [{ total: 9, free: 4 }] }).freeBytes(signal)).toBe(4);
  expect(await answering(200, { storage: [{ total: 0, free: 0 }] }).freeBytes(signal)).toBeNull();
  const [read] = await answering(200, [{ id: 1, name: "robot$site+r" }]).robots(project, signal);
  expect(read).toEqual(robot);
});

test("what must be there is missed by its name", async () => {
  const failure = await failureOf(answering(200, [{ name: "site" }]).project("site", signal));
  expect(failure.code).toBe("harbor-protocol");
  expect(failure.message).toContain('"project_id"');
  const created = answering(201, { id: 1, name: "robot$site+r" });
  const robotFailure = await failureOf(CALLS["createRobot"]?.(created) ?? Promise.resolve());
  expect(robotFailure.message).toContain('"secret"');
});

test("Harbor's own words are told, escaped", async () => {
  const body = { errors: [{ code: "FORBIDDEN", message: 'no\u001b[31m "right"' }] };
  const failure = await failureOf(answering(403, body).info(signal));
  expect(failure.code).toBe("harbor-denied");
  expect(failure.message).toContain(
    'harbor.test answered 403 ("no\\u001b[31m \\"right\\""), expected',
  );
  expect(failure.hint).toContain("site:localRegistry");
});
