import type { Secret } from "#base";

/** What proves to a registry who is asking. */
export type Credential =
  | { readonly kind: "password"; readonly username: string; readonly password: Secret }
  /** An OAuth2 refresh token, traded for access tokens at the registry's token service. */
  | { readonly kind: "identity-token"; readonly token: Secret }
  /** Sent as it is, as a Bearer token. */
  | { readonly kind: "registry-token"; readonly token: Secret }
  /** `docker-credential-<helper>` is asked for `server` when a request needs it, and again when refused. */
  | { readonly kind: "helper"; readonly helper: string; readonly server: string };

/** What a helper may be called: no separator and no space, for it becomes part of a program's name (C-35, SEC-26). */
export const HELPER_NAME: RegExp = /^[A-Za-z0-9._-]+$/;

/** How to talk to the registry that serves an image: with what credential, trusting whom. */
export interface Access {
  /** Where the credential was written, in the plan's words (`user-data:registryCredentials`); null for none. */
  readonly origin: string | null;
  readonly credential?: Credential;
  /** https without verification, then plain http. */
  readonly insecure: boolean;
  /** PEM certificates that are trusted beside the system's. */
  readonly certificates: readonly string[];
}

/** A registry that asks for nothing and that the system trusts. */
export const ANONYMOUS: Access = { origin: null, insecure: false, certificates: [] };

/** Programs that keep credentials (`docker-credential-<helper>`), as those who need one see them. */
export interface CredentialHelpers {
  /**
   * Asks a helper for the credential of a server, each time anew: what it gives may be short-lived.
   *
   * @returns undefined when the helper has none for this server
   * @throws {Failure} `credential-helper-failed`
   */
  get(
    helper: string,
    server: string,
    options: { readonly signal: AbortSignal },
  ): Promise<Credential | undefined>;
}
