import type { Trouble } from "./operations.ts";
import { countedImages } from "./verdict.ts";

/** Trouble with one image. */
export interface ImageTrouble extends Trouble {
  readonly image: string;
  /** Where it would have come from or gone to. */
  readonly registry: string;
}

/** Trouble that one image has, or several in the same way. */
export interface SharedTrouble extends Trouble {
  /** The image, or the registry that they share. */
  readonly subject: string;
  readonly images: readonly string[];
}

/**
 * Puts together what is one trouble: a registry that is down is one thing to mend, however many images
 * come from it.
 *
 * @param by what they share beside the registry: the code, or what is said but for the names in it
 */
export function alike(
  troubles: readonly ImageTrouble[],
  by: "code" | "text" = "code",
): readonly SharedTrouble[] {
  const groups = new Map<string, [ImageTrouble, ...ImageTrouble[]]>();
  for (const trouble of troubles) {
    const { code, registry, message } = trouble;
    const key = JSON.stringify([code, registry, by === "text" ? withoutNames(message) : ""]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [trouble]);
    else group.push(trouble);
  }
  return [...groups.values()].map((group) => {
    const [{ code, message, hint, image, registry }] = group;
    const images = [...new Set(group.map((one) => one.image))];
    if (images.length === 1) return { code, message, hint, subject: image, images };
    const told = `${countedImages(images.length)}, the first of them: ${message}`;
    return { code, message: told, hint, subject: registry, images };
  });
}

/** References that are quoted, and digests. */
function withoutNames(message: string): string {
  return message.replace(/"[^"]*"|[\w.+-]+:[0-9a-f]{32,}/g, "");
}
