import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import protobuf from "protobufjs";

/**
 * CRI as kubelet speaks it, for tests: a client of its own, so that ours is judged by another one.
 * The messages are those of `k8s.io/cri-api`, as far as they are needed.
 */
const PROTO = `syntax = "proto3";
package runtime.v1;
service RuntimeService {
  rpc RunPodSandbox(RunPodSandboxRequest) returns (RunPodSandboxResponse);
  rpc StopPodSandbox(PodId) returns (Empty);
  rpc RemovePodSandbox(PodId) returns (Empty);
  rpc CreateContainer(CreateContainerRequest) returns (CreateContainerResponse);
  rpc StartContainer(ContainerId) returns (Empty);
  rpc ContainerStatus(ContainerId) returns (ContainerStatusResponse);
}
service ImageService {
  rpc ListImages(Empty) returns (ListImagesResponse);
  rpc ImageStatus(ImageRequest) returns (ImageStatusResponse);
  rpc RemoveImage(ImageRequest) returns (Empty);
}
message Empty {}
message PodId { string pod_sandbox_id = 1; }
message ContainerId { string container_id = 1; }
message ImageSpec { string image = 1; }
message ImageRequest { ImageSpec image = 1; }
message Image { string id = 1; repeated string repo_tags = 2; repeated string repo_digests = 3; bool pinned = 8; }
message ListImagesResponse { repeated Image images = 1; }
message ImageStatusResponse { Image image = 1; }
message PodSandboxMetadata { string name = 1; string uid = 2; string namespace = 3; uint32 attempt = 4; }
message NamespaceOption { int32 network = 1; int32 pid = 2; int32 ipc = 3; }
message LinuxSandboxSecurityContext { NamespaceOption namespace_options = 1; }
message LinuxPodSandboxConfig { LinuxSandboxSecurityContext security_context = 2; }
message PodSandboxConfig { PodSandboxMetadata metadata = 1; string hostname = 2; string log_directory = 3; LinuxPodSandboxConfig linux = 8; }
message RunPodSandboxRequest { PodSandboxConfig config = 1; }
message RunPodSandboxResponse { string pod_sandbox_id = 1; }
message ContainerMetadata { string name = 1; uint32 attempt = 2; }
message LinuxContainerSecurityContext { NamespaceOption namespace_options = 3; }
message LinuxContainerConfig { LinuxContainerSecurityContext security_context = 2; }
message ContainerConfig { ContainerMetadata metadata = 1; ImageSpec image = 2; string log_path = 11; LinuxContainerConfig linux = 15; }
message CreateContainerRequest { string pod_sandbox_id = 1; ContainerConfig config = 2; PodSandboxConfig sandbox_config = 3; }
message CreateContainerResponse { string container_id = 1; }
message ContainerStatus { string id = 1; int32 state = 3; int32 exit_code = 7; }
message ContainerStatusResponse { ContainerStatus status = 1; }
`;

/** An image as kubelet sees it. */
export interface KubeletImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly pinned: boolean;
}

/** A kubelet that does what it is told. */
export interface Kubelet extends Disposable {
  images(): Promise<readonly KubeletImage[]>;
  /** What a name of a pod stands for; undefined when it would have to be pulled. */
  status(name: string): Promise<KubeletImage | undefined>;
  /** Removes what is not pinned, as when the disk is full; gives the names of what stays. */
  collect(): Promise<readonly string[]>;
  /** Runs a pod of one container on the network of the machine to its end; gives its exit code. */
  run(image: string, logFolder: string): Promise<number>;
}

/** Connects to a containerd. */
export function createKubelet(socket: string): Kubelet {
  const root = protobuf.parse(PROTO).root;
  const client = new Client(`unix://${socket}`, credentials.createInsecure());
  const call = <T>(service: string, name: string, request: object): Promise<T> => {
    const { requestType, responseType } = root.lookupService(service).methods[
      name
    ] as protobuf.Method;
    const [input, output] = [root.lookupType(requestType), root.lookupType(responseType)];
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest<object, T>(
        `/runtime.v1.${service}/${name}`,
        (message) => Buffer.from(input.encode(input.fromObject(message)).finish()),
        (bytes) => output.toObject(output.decode(bytes), { defaults: true, arrays: true }) as T,
        request,
        { deadline: Date.now() + 60_000 },
        (error: ServiceError | null, response?: T) =>
          error === null ? resolve(response as T) : reject(error),
      );
    });
  };
  const images = async () =>
    (await call<{ images: readonly KubeletImage[] }>("ImageService", "ListImages", {})).images;
  let pods = 0;
  return {
    [Symbol.dispose]: () => client.close(),
    images,
    async status(image) {
      const answer = await call<{ image: KubeletImage | null }>("ImageService", "ImageStatus", {
        image: { image },
      });
      return answer.image ?? undefined;
    },
    async collect() {
      for (const { id, pinned } of await images()) {
        if (!pinned) await call("ImageService", "RemoveImage", { image: { image: id } });
      }
      return (await images()).flatMap(({ repoTags }) => repoTags).sort();
    },
    async run(image, logFolder) {
      pods += 1;
      const name = `pod-${pods}`;
      const linux = { securityContext: { namespaceOptions: { network: 2, pid: 1 } } };
      const sandbox = {
        // A pod on the network of the machine has no host name of its own.
        ...{ metadata: { name, uid: `${name}-${Date.now()}`, namespace: "default" }, linux },
        ...{ hostname: "", logDirectory: logFolder },
      };
      const { podSandboxId } = await call<{ podSandboxId: string }>(
        ...(["RuntimeService", "RunPodSandbox", { config: sandbox }] as const),
      );
      try {
        const config = { metadata: { name: "c" }, image: { image }, logPath: `${name}.log`, linux };
        const { containerId } = await call<{ containerId: string }>(
          ...(["RuntimeService", "CreateContainer"] as const),
          { podSandboxId, config, sandboxConfig: sandbox },
        );
        await call("RuntimeService", "StartContainer", { containerId });
        return await exitCode(() => call("RuntimeService", "ContainerStatus", { containerId }));
      } finally {
        await call("RuntimeService", "StopPodSandbox", { podSandboxId });
        await call("RuntimeService", "RemovePodSandbox", { podSandboxId });
      }
    },
  };
}

/** CRI's `CONTAINER_EXITED`. */
const EXITED = 2;

async function exitCode(
  ask: () => Promise<{ readonly status: { readonly state: number; readonly exitCode: number } }>,
): Promise<number> {
  for (;;) {
    const { status } = await ask();
    if (status.state === EXITED) return status.exitCode;
    await Bun.sleep(20);
  }
}
