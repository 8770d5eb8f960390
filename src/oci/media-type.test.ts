import { expect, test } from "bun:test";
import {
  bareMediaType,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  isForeignLayerType,
  isIndexType,
  isManifestType,
  OCI_ARTIFACT_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
} from "./media-type.ts";

test("a media type is an index's, an image's or neither", () => {
  const all = [
    OCI_INDEX,
    DOCKER_MANIFEST_LIST,
    OCI_MANIFEST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT_MANIFEST,
  ];
  expect(all.map(isIndexType)).toEqual([true, true, false, false, false]);
  expect(all.map(isManifestType)).toEqual([false, false, true, true, true]);
  expect([isIndexType("application/json"), isManifestType("")]).toEqual([false, false]);
});

test("isForeignLayerType() knows layers that registries do not hold (C-80)", () => {
  const foreign = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  ];
  const own = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "x-application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  ];
  expect(foreign.map(isForeignLayerType)).toEqual([true, true, true]);
  expect(own.map(isForeignLayerType)).toEqual([false, false, false]);
});

test("bareMediaType() drops parameters, space and case", () => {
  expect(bareMediaType(" Application/JSON ; charset=utf-8")).toBe("application/json");
  expect(bareMediaType("")).toBe("");
  expect(bareMediaType(";charset=utf-8")).toBe("");
});
