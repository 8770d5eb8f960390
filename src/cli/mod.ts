/**
 * The command line: one file per command, the text and JSON that they answer with, and exit codes.
 *
 * Commands wire the rooms together and hold no rules of their own.
 *
 * @module
 */
export { type CliContext, EXIT, type ExitCode, type Screen } from "./context.ts";
export { diskFiles } from "./disk-files.ts";
export { runCli } from "./program.ts";
