import { Client, credentials } from "@grpc/grpc-js";
import protobuf from "protobufjs";

/** What of the CRI a kubelet uses for images (kubernetes/cri-api, pkg/apis/runtime/v1/api.proto). */
const PROTO = `syntax = "proto3"; package runtime.v1;
  message ImageSpec { string image = 1; }
  message AuthConfig { string username = 1; string password = 2; }
  message PullImageRequest { ImageSpec image = 1; AuthConfig auth = 2; }
  message PullImageResponse { string image_ref = 1; }
  message Image { string id = 1; repeated string repo_tags = 2; repeated string repo_digests = 3; }
  message ImageStatusRequest { ImageSpec image = 1; }
  message ImageStatusResponse { Image image = 1; }
  message RemoveImageRequest { ImageSpec image = 1; }
  message RemoveImageResponse {}`;

/** Pulling by a registry that answers at all takes far less. */
const DEADLINE_MS = 60_000;

/** An image that a runtime has. */
export interface CriImage {
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** The image service of a container runtime, called as a kubelet does. */
export interface CriImages extends Disposable {
  /** @throws {Error} with what the runtime said */
  pull(image: string, auth?: { username: string; password: string }): Promise<void>;
  /** Undefined when it does not have it. */
  status(image: string): Promise<CriImage | undefined>;
  remove(image: string): Promise<void>;
}

/** Calls the runtime behind a unix socket. */
export function connectCri(socket: string): CriImages {
  const { root } = protobuf.parse(PROTO, { keepCase: false });
  const client = new Client(`unix://${socket}`, credentials.createInsecure());
  const call = <T>(method: string, request: object): Promise<T> => {
    const [takes, gives] = ["Request", "Response"].map((kind) =>
      root.lookupType(`runtime.v1.${method}${kind}`),
    );
    if (takes === undefined || gives === undefined) throw new Error(`no ${method}`);
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/runtime.v1.ImageService/${method}`,
        (message: object) => Buffer.from(takes.encode(takes.create(message)).finish()),
        (bytes) => gives.toObject(gives.decode(bytes), { arrays: true }) as T,
        ...([request, { deadline: Date.now() + DEADLINE_MS }] as const),
        (error, answer) => {
          if (answer === undefined) reject(error ?? new Error(`${method} gave nothing`));
          else resolve(answer);
        },
      );
    });
  };
  return {
    async pull(image, auth) {
      await call("PullImage", { image: { image }, ...(auth && { auth }) });
    },
    async status(image) {
      const { image: found } = await call<{ image?: CriImage }>("ImageStatus", {
        image: { image },
      });
      return found;
    },
    async remove(image) {
      await call("RemoveImage", { image: { image } });
    },
    [Symbol.dispose]: () => client.close(),
  };
}
