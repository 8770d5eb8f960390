import type { ServiceError } from "@grpc/grpc-js";
import { Failure, isFailure, printable, quoted } from "#base";
import { GRPC } from "./grpc-wire.ts";

/** What a server answered that could be reached. Its words are escaped and bounded. */
export class RuntimeFailure extends Failure {
  /** gRPC's code. */
  readonly grpcCode: number;

  constructor(options: ConstructorParameters<typeof Failure>[0], grpcCode: number) {
    super(options);
    this.grpcCode = grpcCode;
  }
}

/** Whether a call failed with this code of gRPC. */
export function hasGrpcCode(error: unknown, grpcCode: number): boolean {
  return error instanceof RuntimeFailure && error.grpcCode === grpcCode;
}

const WHY = {
  missing: {
    found: "there is no such file",
    hint: "Start containerd, or name its socket with runtime.socket in the site file (k3s and RKE2: /run/k3s/containerd/containerd.sock)",
  },
  "not-a-socket": {
    found: "it is no socket",
    hint: "Name the socket of containerd with runtime.socket in the site file",
  },
  denied: {
    found: "this user may not write to it",
    hint: "Run dray as the user that the socket belongs to, root on most nodes",
  },
  silent: {
    found: "nothing that speaks containerd's language answered",
    hint: "Look whether containerd runs (systemctl status containerd), and whether runtime.socket in the site file names its socket and not that of Docker",
  },
} as const;

/** The failure of whoever got no answer from a runtime. */
export function unreachable(socket: string, path: string, why: keyof typeof WHY): Failure {
  const { found, hint } = WHY[why];
  return new Failure({
    code: "runtime-unreachable",
    message: `Cannot call ${path} at ${quoted(socket)}: ${found}, expected the socket of containerd`,
    hint,
    transient: why === "missing" || why === "silent",
  });
}

/** The failure of who waited for an answer that takes no time. */
export function silent(socket: string, path: string): Failure {
  return new Failure({
    code: "runtime-silent",
    message: `Cannot call ${path} at ${quoted(socket)}: it takes calls and answers none, expected an answer at once`,
    hint: "Look at what containerd says (journalctl -u containerd), restart it, then run `dray deliver` again",
    transient: true,
  });
}

/** What a call that failed is told as. */
export function callFailure(socket: string, path: string, error: ServiceError | null): Failure {
  if (error === null) return unreachable(socket, path, "silent");
  if (isFailure(error)) return error;
  switch (error.code) {
    case GRPC.UNAVAILABLE:
      // containerd itself says so of content that another writer holds.
      if (/locked/.test(error.details)) break;
      return unreachable(socket, path, "silent");
    case GRPC.UNKNOWN:
    case GRPC.INTERNAL:
      // What is no gRPC server answers with another protocol's status or none.
      if (/HTTP status|RST_STREAM|Protocol error/i.test(error.details)) {
        return unreachable(socket, path, "silent");
      }
      break;
    case GRPC.UNIMPLEMENTED:
      return new Failure({
        code: "runtime-old",
        message: `Cannot call ${path} at ${quoted(socket)}: the runtime does not know it, expected containerd 1.6 or newer with its CRI plugin`,
        hint: 'Update containerd; if it is new enough, take "cri" out of disabled_plugins in /etc/containerd/config.toml and restart it',
      });
    case GRPC.DEADLINE_EXCEEDED:
      return new RuntimeFailure(
        {
          code: "runtime-failed",
          message: `Cannot call ${path} at ${quoted(socket)}: no answer came in time`,
          hint: "Look at what containerd says: journalctl -u containerd",
          transient: true,
        },
        error.code,
      );
  }
  return new RuntimeFailure(
    {
      code: "runtime-failed",
      message: `Cannot call ${path} at ${quoted(socket)}: it answered ${nameOf(error.code)}: ${printable(error.details, 400)}`,
      hint: "Look at what containerd says: journalctl -u containerd",
      transient: TRANSIENT.has(error.code),
    },
    error.code,
  );
}

const TRANSIENT: ReadonlySet<number> = new Set([
  ...[GRPC.UNAVAILABLE, GRPC.ABORTED, GRPC.RESOURCE_EXHAUSTED, GRPC.CANCELLED],
]);

function nameOf(grpcCode: number): string {
  return Object.entries(GRPC).find(([, code]) => code === grpcCode)?.[0] ?? String(grpcCode);
}
