/** A position in something a person wrote. Lines and columns count from 1; columns count UTF-16 units. */
export interface Place {
  /** The file as the user named it; files of a pack are relative to the profile; `<stdin>` for `-`. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Where in the document's structure, e.g. `spec.template.packs[2].values:pack.content.images[0].image`. */
  readonly path: string;
}

/** A fault or a warning about what a person wrote: what, where, and what to do next. */
export interface Finding extends Place {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

/** Collects findings, so that all of them are reported and none stops the reading. */
export class Findings {
  readonly #faults: Finding[] = [];
  readonly #warnings: Finding[] = [];

  /** Records something that makes the input unusable (exit 2). */
  fault(place: Place, code: string, message: string, remedy: string): void {
    this.#faults.push({ ...placeOnly(place), code, message, remedy });
  }

  /** Records something the person should know, that stops nothing. */
  warn(place: Place, code: string, message: string, remedy: string): void {
    this.#warnings.push({ ...placeOnly(place), code, message, remedy });
  }

  get hasFaults(): boolean {
    return this.#faults.length > 0;
  }

  /** Faults in the order of file, line, column; the same finding is listed once. */
  get faults(): readonly Finding[] {
    return sortFindings(this.#faults);
  }

  /** Warnings in the order of file, line, column; the same finding is listed once. */
  get warnings(): readonly Finding[] {
    return sortFindings(this.#warnings);
  }
}

function placeOnly({ file, line, column, path }: Place): Place {
  return { file, line, column, path };
}

/** Order and sameness of findings do not depend on the order in which they were found. */
function sortFindings(findings: readonly Finding[]): readonly Finding[] {
  const unique = new Map<string, Finding>();
  for (const finding of findings) {
    const key = [finding.file, finding.line, finding.column, finding.code, finding.message].join(
      "\0",
    );
    unique.set(key, finding);
  }
  return [...unique.entries()].sort(compareEntries).map(([, finding]) => finding);
}

function compareEntries([keyA, a]: [string, Finding], [keyB, b]: [string, Finding]): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  if (a.line !== b.line) return a.line - b.line;
  if (a.column !== b.column) return a.column - b.column;
  return keyA < keyB ? -1 : 1;
}
