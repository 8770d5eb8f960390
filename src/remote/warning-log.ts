import { printable } from "#base";

/** Something that a person should know about a registry and that stops nothing. */
export interface RemoteNotice {
  readonly registry: string;
  readonly message: string;
}

/** The distribution specification: "Warnings", at most 4096 bytes in all. */
const HEADER_CHARACTERS_MAX = 4096;

/** A registry that says ever new things is not listened to for ever. */
const NOTICES_PER_REGISTRY_MAX = 20;

const WARNING = /(?:^|,)\s*299\s+\S+\s+"((?:[^"\\]|\\.)*)"/g;

/** Passes on what registries warn of, each thing once (C-164). Nothing ever depends on it. */
export class WarningLog {
  readonly #onNotice: (notice: RemoteNotice) => void;
  readonly #said = new Map<string, Set<string>>();

  constructor(onNotice: (notice: RemoteNotice) => void) {
    this.#onNotice = onNotice;
  }

  /** Reads a `Warning` header: the texts of code 299, the only one that registries may send. */
  note(registry: string, header: string | null): void {
    for (const [, text = ""] of (header ?? "").slice(0, HEADER_CHARACTERS_MAX).matchAll(WARNING)) {
      this.say(registry, printable(text.replace(/\\(.)/g, "$1")));
    }
  }

  /** Says a thing unless it was said before. The text must be safe to show. */
  say(registry: string, message: string): void {
    const said = this.#said.get(registry) ?? new Set();
    if (said.has(message) || said.size >= NOTICES_PER_REGISTRY_MAX) return;
    said.add(message);
    this.#said.set(registry, said);
    this.#onNotice({ registry, message });
  }
}
