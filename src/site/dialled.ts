/** The address at which this machine reaches what listens there: all interfaces are none to dial. */
export function dialled(listen: string): string {
  return listen.replace(/^(?:0\.0\.0\.0|\[::\]|)(?=:\d+$)/, "127.0.0.1");
}
