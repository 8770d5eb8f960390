/**
 * Helpers that know nothing of images: failures and findings, time, limits, text for people.
 *
 * Nothing here touches the disk or the network, and nothing here knows a registry.
 *
 * @module
 */
export { assert } from "./assert.ts";
export { type Backoff, backoffMs } from "./backoff.ts";
export { formatBytes, formatDuration } from "./bytes.ts";
export { type Clock, systemClock } from "./clock.ts";
export { Failure, type FailureOptions, isFailure, systemErrorCode } from "./failure.ts";
export { type Finding, Findings, type Place } from "./finding.ts";
export { Limiter } from "./limiter.ts";
export { Secret } from "./secret.ts";
export { SingleFlight } from "./single-flight.ts";
export { nearest, printable, quoted } from "./text.ts";
