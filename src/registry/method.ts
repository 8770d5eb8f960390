import type { Action } from "./access.ts";
import type { Route } from "./route.ts";
import { WireError } from "./wire.ts";

/** What of the specification a registry offers beyond pulling. */
export interface Offer {
  /** False: it is for reading (S-67). */
  readonly isWritable: boolean;
  /** False: nothing that was pushed can be deleted (S-28). */
  readonly isDeletable: boolean;
  /** False: it does not list its repositories (S-27). */
  readonly isListed: boolean;
}

const READING = { GET: "pull", HEAD: "pull" } as const;

/** Which methods there are for what, and the right that each needs. */
const ACTIONS: Readonly<Record<Route["kind"], Readonly<Record<string, Action>>>> = {
  version: READING,
  catalog: READING,
  tags: READING,
  referrers: READING,
  manifest: { ...READING, PUT: "push", DELETE: "delete" },
  blob: { ...READING, DELETE: "delete" },
  uploads: { POST: "push" },
  // Also to look at an upload is for those who push.
  upload: { GET: "push", HEAD: "push", PATCH: "push", PUT: "push", DELETE: "push" },
};

/**
 * The right that a request needs.
 *
 * @throws {WireError} `UNSUPPORTED` for a method that is not offered, `NAME_UNKNOWN` for a list that is not
 */
export function actionOf(kind: Route["kind"], method: string, offer: Offer): Action {
  if (kind === "catalog" && !offer.isListed) {
    throw new WireError("NAME_UNKNOWN", "this registry does not list its repositories");
  }
  const actions = ACTIONS[kind];
  const action = Object.hasOwn(actions, method) ? actions[method] : undefined;
  if (action !== undefined && isOffered(action, offer)) return action;
  const isForReading = action !== undefined && !offer.isWritable;
  const message = isForReading ? "this registry is for reading" : "this is not supported here";
  const offered = Object.entries(actions).filter(([, each]) => isOffered(each, offer));
  throw new WireError("UNSUPPORTED", message, {
    allow: offered.map(([name]) => name).join(", "),
  });
}

function isOffered(action: Action, { isWritable, isDeletable }: Offer): boolean {
  if (action === "pull") return true;
  return isWritable && (action === "push" || isDeletable);
}
