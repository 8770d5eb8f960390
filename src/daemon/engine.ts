/** By how much more often than usual code must run before it is compiled. */
const SELDOM = 50;

/**
 * Has the JavaScript engine of this process interpret what it would compile. An agent rests most of its
 * life, and what is worth compiling runs in processes of its own; what a busy registry runs all the time is
 * still compiled. It saves 2 MB of code and of the compiler's own pages, at rest with 10,000 blobs.
 */
export function compileSeldom(): void {
  Bun.unsafe.setJITPolicy(SELDOM);
}
