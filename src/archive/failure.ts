import { Failure } from "#base";

const BUILD_AGAIN =
  "Fetch the file again; if it stays so, ask its publisher to build it with a current tool";

/** The bytes are no archive, or stop being one at an offset of the archive (after decompression). */
export function archiveBroken(what: string, offset: number, cause?: unknown): Failure {
  return new Failure({
    code: "archive-broken",
    message: `Cannot read the archive at byte ${offset}: ${what}`,
    hint: BUILD_AGAIN,
    cause,
  });
}

/** A form of archive that is known and not read here. */
export function archiveUnsupported(what: string, expected: string): Failure {
  return new Failure({
    code: "archive-unsupported",
    message: `Cannot read the archive: ${what}, expected ${expected}`,
    hint: "Ask its publisher for one in that form, or repack it",
  });
}

/** More than an archive may cost this machine. */
export function archiveTooLarge(found: string, expected: string): Failure {
  return new Failure({
    code: "archive-too-large",
    message: `Cannot go on with the archive: it has ${found}, expected at most ${expected}`,
    hint: "Look at what the archive is before it is trusted; it may be made to fill disks",
  });
}

/** A layer that is a right archive, and that no root file system can come of. */
export function layerInvalid(what: string): Failure {
  return new Failure({
    code: "layer-invalid",
    message: `Cannot apply the layer: ${what}`,
    hint: "Ask the publisher of the image to build it again; a layer made on purpose so is an attack",
  });
}
