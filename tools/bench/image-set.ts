import { createCipheriv, createHash } from "node:crypto";
import { crc32 } from "node:zlib";

/** One blob of an image: the same seed and size always give the same bytes. */
export interface LayerShape {
  readonly seed: string;
  /** Size of the file inside; the layer is larger by its tar and gzip frames, less than 0.1 %. */
  readonly bytes: number;
}

/** An image to make: its repository name and its layers, base first. */
export interface ImageShape {
  readonly name: string;
  readonly layers: readonly LayerShape[];
}

/** Images of one kind. */
export interface ImageGroup {
  readonly images: number;
  /** The layers of each image, base first. */
  readonly layerBytes: readonly number[];
  /** How many of the first layers are the same in all images of the group. */
  readonly sharedLayers: number;
}

const MB = 1_000_000;

/**
 * What can be moved, by name. `realistic` follows what edge clusters hold: many small controllers
 * over one base, some applications over another, a few databases, and one image with a model in it.
 */
export const IMAGE_SETS = {
  "20x6x16": [{ images: 20, layerBytes: Array<number>(6).fill(16 * MB), sharedLayers: 2 }],
  "8x6x8": [{ images: 8, layerBytes: Array<number>(6).fill(8 * MB), sharedLayers: 2 }],
  // The first image stands for the provider image, in which drayage looks for other images besides.
  "1x4000": [
    { images: 1, layerBytes: [1 * MB], sharedLayers: 0 },
    { images: 1, layerBytes: [4_000 * MB], sharedLayers: 0 },
  ],
  "2x4x4": [{ images: 2, layerBytes: Array<number>(4).fill(4 * MB), sharedLayers: 0 }],
  "2x3x16": [{ images: 2, layerBytes: Array<number>(3).fill(16 * MB), sharedLayers: 1 }],
  "1x1x6": [{ images: 1, layerBytes: [6 * MB], sharedLayers: 0 }],
  realistic: [
    { images: 30, layerBytes: [2 * MB, 0.1 * MB, 0.01 * MB, 14 * MB], sharedLayers: 3 },
    { images: 12, layerBytes: [30 * MB, 18 * MB, 0.4 * MB, 25 * MB, 3 * MB], sharedLayers: 2 },
    { images: 4, layerBytes: [30 * MB, 60 * MB, 90 * MB, 0.02 * MB], sharedLayers: 1 },
    { images: 1, layerBytes: [30 * MB, 400 * MB], sharedLayers: 1 },
  ],
} as const satisfies Readonly<Record<string, readonly ImageGroup[]>>;

/** The images of some groups. What groups share is shared by seed, so bases of one size are one base. */
export function imagesOf(groups: readonly ImageGroup[]): readonly ImageShape[] {
  return groups.flatMap(({ images, layerBytes, sharedLayers }, group) =>
    Array.from({ length: images }, (_, image) => {
      const name = `app-${group}-${String(image).padStart(2, "0")}`;
      const layers = layerBytes.map((bytes, position) => ({
        seed: position < sharedLayers ? `base/${position}` : `${name}/${position}`,
        bytes: Math.round(bytes),
      }));
      return { name, layers };
    }),
  );
}

/** The layers that differ: what has to cross a link once. */
export function distinctLayers(images: readonly ImageShape[]): readonly LayerShape[] {
  const layers = images.flatMap((image) => image.layers);
  return [...new Map(layers.map((layer) => [keyOf(layer), layer])).values()];
}

/** What a layer is known by before its digest is known. */
export function keyOf({ seed, bytes }: LayerShape): string {
  return `${seed} ${bytes}`;
}

/** A deflate block that stores holds at most so many bytes (RFC 1951, 3.2.4). */
const STORED_BYTES_MAX = 65_535;

const PIECE_BYTES = 16 * STORED_BYTES_MAX;

/**
 * A layer as real tools accept it: a gzipped tar of one file, whose content does not compress. It is
 * stored, not deflated, so it comes faster than any registry takes it in; memory is one piece.
 *
 * @param onTar is told each piece of the tar, whose digest is the layer's in the config
 */
export function* layerPieces(
  { seed, bytes }: LayerShape,
  onTar: (piece: Uint8Array) => void = () => undefined,
): Generator<Uint8Array> {
  yield Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);
  let checksum = 0;
  let tarBytes = 0;
  for (const piece of tarPieces(seed, bytes)) {
    onTar(piece);
    checksum = crc32(piece, checksum);
    tarBytes += piece.byteLength;
    yield storedBlocks(piece);
  }
  const trailer = Buffer.from([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
  trailer.writeUInt32LE(checksum, 5);
  trailer.writeUInt32LE(tarBytes % 2 ** 32, 9);
  yield trailer;
}

/** The bytes as deflate blocks that store, none of them the last. */
function storedBlocks(bytes: Uint8Array): Uint8Array {
  const blocks = Math.ceil(bytes.byteLength / STORED_BYTES_MAX);
  const framed = Buffer.allocUnsafe(bytes.byteLength + 5 * blocks);
  for (let block = 0, offset = 0; block < blocks; block += 1) {
    const part = bytes.subarray(block * STORED_BYTES_MAX, (block + 1) * STORED_BYTES_MAX);
    framed.writeUInt8(0, offset);
    framed.writeUInt16LE(part.byteLength, offset + 1);
    framed.writeUInt16LE(part.byteLength ^ 0xffff, offset + 3);
    framed.set(part, offset + 5);
    offset += 5 + part.byteLength;
  }
  return framed;
}

/** A tar of one file of noise, which is the same for the same seed. */
function* tarPieces(seed: string, bytes: number): Generator<Uint8Array> {
  yield tarHeader(`opt/${seed}`, bytes);
  const key = createHash("sha256").update(seed).digest();
  const noise = createCipheriv("aes-128-ctr", key.subarray(0, 16), key.subarray(16));
  const zeros = new Uint8Array(PIECE_BYTES);
  for (let left = bytes; left > 0; left -= PIECE_BYTES) {
    yield noise.update(zeros.subarray(0, Math.min(left, PIECE_BYTES)));
  }
  // Up to the next block of 512, and the two empty blocks that end an archive.
  yield new Uint8Array(((512 - (bytes % 512)) % 512) + 1_024);
}

/** The header of a regular file (POSIX ustar). */
function tarHeader(name: string, bytes: number): Uint8Array {
  const header = Buffer.alloc(512);
  const fields: readonly (readonly [offset: number, text: string])[] = [
    [0, name],
    [100, "0000644"],
    [108, "0000000"],
    [116, "0000000"],
    [124, bytes.toString(8).padStart(11, "0")],
    [136, "00000000000"],
    [148, "        0"],
    [257, "ustar"],
    [263, "00"],
  ];
  for (const [offset, text] of fields) header.write(text, offset);
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  header.write(`${checksum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}
