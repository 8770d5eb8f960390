/**
 * The messages of containerd that we use, and the fields of them that we read or set, as its public API
 * has them: `containerd/api` v1.9.0 (content, diff, images, leases, snapshots, version; unchanged since
 * containerd 1.0 where we touch them) and Kubernetes' CRI v1 (`k8s.io/cri-api` v0.32.3), which containerd
 * has since 1.6. What is left out of a message is skipped when it is read.
 *
 * Texts in code, because the executable has no files beside it.
 */
export const PROTOS: readonly string[] = [
  `syntax = "proto3";
package google.protobuf;
message Empty {}
message FieldMask { repeated string paths = 1; }
`,
  `syntax = "proto3";
package containerd.types;
message Descriptor { string media_type = 1; string digest = 2; int64 size = 3; }
message Mount { string type = 1; string source = 2; string target = 3; repeated string options = 4; }
`,
  `syntax = "proto3";
package containerd.services.version.v1;
service Version { rpc Version(google.protobuf.Empty) returns (VersionResponse); }
message VersionResponse { string version = 1; string revision = 2; }
`,
  `syntax = "proto3";
package containerd.services.content.v1;
service Content {
  rpc Info(InfoRequest) returns (InfoResponse);
  rpc Update(UpdateRequest) returns (UpdateResponse);
  rpc Write(stream WriteContentRequest) returns (stream WriteContentResponse);
}
message Info { string digest = 1; int64 size = 2; map<string, string> labels = 5; }
message InfoRequest { string digest = 1; }
message InfoResponse { Info info = 1; }
message UpdateRequest { Info info = 1; google.protobuf.FieldMask update_mask = 2; }
message UpdateResponse { Info info = 1; }
enum WriteAction { STAT = 0; WRITE = 1; COMMIT = 2; }
message WriteContentRequest {
  WriteAction action = 1; string ref = 2; int64 total = 3; string expected = 4; int64 offset = 5;
  bytes data = 6; map<string, string> labels = 7;
}
message WriteContentResponse { WriteAction action = 1; int64 offset = 4; int64 total = 5; string digest = 6; }
`,
  `syntax = "proto3";
package containerd.services.images.v1;
service Images {
  rpc List(ListImagesRequest) returns (ListImagesResponse);
  rpc Create(CreateImageRequest) returns (CreateImageResponse);
  rpc Update(UpdateImageRequest) returns (UpdateImageResponse);
  rpc Delete(DeleteImageRequest) returns (google.protobuf.Empty);
}
message Image { string name = 1; map<string, string> labels = 2; containerd.types.Descriptor target = 3; }
message ListImagesRequest { repeated string filters = 1; }
message ListImagesResponse { repeated Image images = 1; }
message CreateImageRequest { Image image = 1; }
message CreateImageResponse { Image image = 1; }
message UpdateImageRequest { Image image = 1; google.protobuf.FieldMask update_mask = 2; }
message UpdateImageResponse { Image image = 1; }
message DeleteImageRequest { string name = 1; bool sync = 2; }
`,
  `syntax = "proto3";
package containerd.services.leases.v1;
service Leases {
  rpc Create(CreateRequest) returns (CreateResponse);
  rpc Delete(DeleteRequest) returns (google.protobuf.Empty);
  rpc AddResource(AddResourceRequest) returns (google.protobuf.Empty);
}
message Lease { string id = 1; map<string, string> labels = 3; }
message CreateRequest { string id = 1; map<string, string> labels = 3; }
message CreateResponse { Lease lease = 1; }
message DeleteRequest { string id = 1; bool sync = 2; }
message Resource { string id = 1; string type = 2; }
message AddResourceRequest { string id = 1; Resource resource = 2; }
`,
  `syntax = "proto3";
package containerd.services.snapshots.v1;
service Snapshots {
  rpc Prepare(PrepareSnapshotRequest) returns (PrepareSnapshotResponse);
  rpc Commit(CommitSnapshotRequest) returns (google.protobuf.Empty);
  rpc Remove(RemoveSnapshotRequest) returns (google.protobuf.Empty);
  rpc Stat(StatSnapshotRequest) returns (StatSnapshotResponse);
}
message PrepareSnapshotRequest { string snapshotter = 1; string key = 2; string parent = 3; map<string, string> labels = 4; }
message PrepareSnapshotResponse { repeated containerd.types.Mount mounts = 1; }
message CommitSnapshotRequest { string snapshotter = 1; string name = 2; string key = 3; map<string, string> labels = 4; }
message RemoveSnapshotRequest { string snapshotter = 1; string key = 2; }
message StatSnapshotRequest { string snapshotter = 1; string key = 2; }
message Info { string name = 1; string parent = 2; map<string, string> labels = 6; }
message StatSnapshotResponse { Info info = 1; }
`,
  `syntax = "proto3";
package containerd.services.diff.v1;
service Diff { rpc Apply(ApplyRequest) returns (ApplyResponse); }
message ApplyRequest { containerd.types.Descriptor diff = 1; repeated containerd.types.Mount mounts = 2; }
message ApplyResponse { containerd.types.Descriptor applied = 1; }
`,
  `syntax = "proto3";
package runtime.v1;
service RuntimeService {
  rpc Version(VersionRequest) returns (VersionResponse);
  rpc Status(StatusRequest) returns (StatusResponse);
}
service ImageService {
  rpc ListImages(ListImagesRequest) returns (ListImagesResponse);
  rpc ImageStatus(ImageStatusRequest) returns (ImageStatusResponse);
  rpc PullImage(PullImageRequest) returns (PullImageResponse);
  rpc ImageFsInfo(ImageFsInfoRequest) returns (ImageFsInfoResponse);
}
message VersionRequest { string version = 1; }
message VersionResponse { string version = 1; string runtime_name = 2; string runtime_version = 3; string runtime_api_version = 4; }
message RuntimeCondition { string type = 1; bool status = 2; string reason = 3; string message = 4; }
message RuntimeStatus { repeated RuntimeCondition conditions = 1; }
message StatusRequest { bool verbose = 1; }
message StatusResponse { RuntimeStatus status = 1; map<string, string> info = 2; }
message ImageSpec { string image = 1; map<string, string> annotations = 2; }
message Image { string id = 1; repeated string repo_tags = 2; repeated string repo_digests = 3; uint64 size = 4; bool pinned = 8; }
message ListImagesRequest {}
message ListImagesResponse { repeated Image images = 1; }
message ImageStatusRequest { ImageSpec image = 1; bool verbose = 2; }
message ImageStatusResponse { Image image = 1; map<string, string> info = 2; }
message AuthConfig { string username = 1; string password = 2; string auth = 3; string server_address = 4; string identity_token = 5; string registry_token = 6; }
message PullImageRequest { ImageSpec image = 1; AuthConfig auth = 2; }
message PullImageResponse { string image_ref = 1; }
message FilesystemIdentifier { string mountpoint = 1; }
message FilesystemUsage { FilesystemIdentifier fs_id = 2; }
message ImageFsInfoRequest {}
message ImageFsInfoResponse { repeated FilesystemUsage image_filesystems = 1; }
`,
];
